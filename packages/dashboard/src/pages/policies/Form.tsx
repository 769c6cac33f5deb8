import { ALGORITHMS, BURSTING, FAIL_MODES, MODES, type PolicyInput } from '@api-bouncer/limiter/contracts'
import {
  ActionIcon,
  Button,
  Group,
  Input,
  NumberInput,
  SegmentedControl,
  Select,
  SimpleGrid,
  Stack,
  TagsInput,
  Text,
  TextInput,
} from '@mantine/core'

interface Props {
  readonly value: Partial<PolicyInput>
  readonly onField: (path: readonly (string | number)[], value: unknown) => void
  readonly disabled: boolean
}

const asList = (match: PolicyInput['match']): string[] =>
  match === undefined ? ['*'] : typeof match === 'string' ? [match] : [...match]
const numeric = (value: string | number): number | undefined => (typeof value === 'number' ? value : undefined)

/** The algorithms that take a burst; the others ignore it. */

const DEFAULT = { value: 'default', label: 'the server’s default' }

/** The same draft as the YAML beside it, field by field. */
export function Form({ value, onField, disabled }: Props) {
  const limits = Array.isArray(value.limits) ? value.limits : []
  const algorithm = value.algorithm ?? 'default'
  const takesBurst = BURSTING.some(id => id === algorithm)
  const asksBurst = (burst: unknown) => takesBurst || algorithm === 'default' || burst !== undefined
  const penalty = value.penalty === undefined ? 'fleet' : value.penalty === false ? 'none' : 'own'
  const own = typeof value.penalty === 'object' ? value.penalty : {}
  return (
    <fieldset disabled={disabled} style={{ border: 0, padding: 0, margin: 0, minWidth: 0 }}>
      <Stack gap="sm">
        <Input.Wrapper label="Mode" description="shadow counts and refuses nobody">
          <div>
            <SegmentedControl
              aria-label="mode"
              size="xs"
              data={[...MODES]}
              value={value.mode ?? 'enforce'}
              onChange={mode => onField(['mode'], mode)}
              disabled={disabled}
            />
          </div>
        </Input.Wrapper>
        <TagsInput
          label="Where"
          description="PATH or METHOD PATH, as POST /auth/*; * is everything"
          value={asList(value.match)}
          onChange={match => onField(['match'], match)}
          splitChars={[',']}
        />
        <Input.Wrapper label="Limits" description="All must allow, or none is charged">
          <Stack gap={6} mt={4}>
            {limits.map((limit, i) => (
              // Limits have no name of their own.
              // biome-ignore lint/suspicious/noArrayIndexKey: the place is what identifies a limit
              <Group key={i} gap={6} wrap="nowrap">
                <NumberInput
                  aria-label={`limit ${i + 1}`}
                  value={limit.limit}
                  onChange={n => onField(['limits', i, 'limit'], numeric(n) ?? 0)}
                  min={1}
                  allowDecimal={false}
                  hideControls
                  w={100}
                />
                per
                <TextInput
                  aria-label={`window ${i + 1}`}
                  value={String(limit.window ?? '')}
                  onChange={event => onField(['limits', i, 'window'], event.currentTarget.value)}
                  w={80}
                />
                {asksBurst(limit.burst) && (
                  <>
                    burst
                    <NumberInput
                      aria-label={`burst ${i + 1}`}
                      placeholder="none"
                      value={limit.burst ?? ''}
                      onChange={n => onField(['limits', i, 'burst'], numeric(n))}
                      min={1}
                      allowDecimal={false}
                      hideControls
                      w={90}
                    />
                  </>
                )}
                <ActionIcon
                  variant="subtle"
                  aria-label={`remove limit ${i + 1}`}
                  disabled={limits.length < 2}
                  onClick={() => onField(['limits'], limits.toSpliced(i, 1))}
                >
                  ✕
                </ActionIcon>
              </Group>
            ))}
            {!takesBurst && limits.some(({ burst }) => asksBurst(burst)) && (
              <Text size="xs" c="dimmed">
                A burst is for {BURSTING.join(' and ')}:{' '}
                {algorithm === 'default' ? 'the others ignore' : `${algorithm} ignores`} it.
              </Text>
            )}
            <div>
              <Button
                size="compact-xs"
                variant="default"
                onClick={() => onField(['limits'], [...limits, { limit: 1000, window: '1h' }])}
                disabled={limits.length >= 8}
              >
                Add a limit
              </Button>
            </div>
          </Stack>
        </Input.Wrapper>
        <Select
          label="Algorithm"
          data={[DEFAULT, ...ALGORITHMS]}
          value={algorithm}
          onChange={id => onField(['algorithm'], id === 'default' || id === null ? undefined : id)}
          allowDeselect={false}
        />
        <SimpleGrid cols={{ base: 1, xs: 2 }}>
          <NumberInput
            label="Cost"
            description="Units a request takes"
            value={value.cost ?? 1}
            onChange={n => onField(['cost'], numeric(n) === 1 ? undefined : numeric(n))}
            min={1}
            allowDecimal={false}
          />
          <Select
            label="Fail mode"
            description="Decides while the store is away"
            data={[DEFAULT, ...FAIL_MODES]}
            value={value.failMode ?? 'default'}
            onChange={mode => onField(['failMode'], mode === 'default' || mode === null ? undefined : mode)}
            allowDeselect={false}
          />
        </SimpleGrid>
        <Select
          label="Penalty"
          description="What repeated violations lead to"
          data={[
            { value: 'fleet', label: 'the fleet’s' },
            { value: 'none', label: 'none: they never block' },
            { value: 'own', label: 'its own, counted by itself' },
          ]}
          value={penalty}
          onChange={kind =>
            onField(
              ['penalty'],
              kind === 'none' ? false : kind === 'own' ? { threshold: 5, window: '5m', block: ['15m'] } : undefined,
            )
          }
          allowDeselect={false}
        />
        {penalty === 'own' && (
          <Group grow>
            <NumberInput
              label="Violations"
              value={own.threshold ?? 5}
              onChange={n => onField(['penalty', 'threshold'], numeric(n))}
              min={1}
              allowDecimal={false}
            />
            <TextInput
              label="Within"
              value={String(own.window ?? '5m')}
              onChange={event => onField(['penalty', 'window'], event.currentTarget.value)}
            />
            <TextInput
              label="Block for"
              description="15m, 1h: escalates"
              value={[own.block ?? '15m'].flat().join(', ')}
              onChange={event =>
                onField(
                  ['penalty', 'block'],
                  event.currentTarget.value.split(',').map(one => one.trim()),
                )
              }
            />
          </Group>
        )}
      </Stack>
    </fieldset>
  )
}
