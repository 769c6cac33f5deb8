import { benches } from './benches/index.ts'
import { main } from './run.ts'

await main(
  {
    command: 'bench',
    page: 'docs/performance.md',
    folder: '',
    title: 'Performance',
    promises: false,
    intro:
      'Every figure is the median, with least and greatest in brackets, of interleaved rounds in one run (A B C, C B A …), each contender in a process of its own on the same machine; a ratio is taken within each round. Absolute figures say something about the machine; ratios about the software. What profiling found, and what each change gave, is in [profiling.md](profiling.md).',
  },
  benches,
)
