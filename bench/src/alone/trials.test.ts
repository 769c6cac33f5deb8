import { hold } from '../reliability/trial.fixture.ts'

// They keep both cores busy.
hold(['exactness', 'local', 'eviction'])
// A second in which a server just started stands still is a seventh of a flood that is cut to seven, and nothing of a whole one.
hold(['flood'], 2)
