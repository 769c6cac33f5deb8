import { hold } from './trial.fixture.ts'

hold(['soak', 'versions', 'rolling', 'workers'])
