import { hold } from '../reliability/trial.fixture.ts'

// They keep both cores busy.
hold(['exactness', 'local', 'eviction', 'flood'])
