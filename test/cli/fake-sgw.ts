/**
 * The built command line over the fake gateway, as a program: what spawn tests start. `SGW_FAKE=empty` has no volumes,
 * `encrypted` a store that is.
 */
import { createFakeGateway } from './fake-gateway.ts';

const dist = process.env['SGW_TEST_DIST'] ?? new URL('../../dist/', import.meta.url).href;
const { main } = (await import(new URL('core/cli/main.js', dist).href)) as typeof import('../../src/core/cli/main.ts');
const { SgwError } = (await import(
  new URL('core/kit/index.js', dist).href
)) as typeof import('../../src/core/kit/index.ts');
const fake = createFakeGateway({
  SgwError,
  activated: process.env['SGW_FAKE'] !== 'empty',
  filled: process.env['SGW_FAKE'] !== 'empty',
  encrypted: process.env['SGW_FAKE'] === 'encrypted',
});

await main({
  argv: process.argv.slice(2),
  entryUrl: new URL('../bin/run.js', dist).href,
  openGateway: async () => fake.api,
});
