/** A store that fails its check: the result is printed as it is, and the command ends like a failure. */
import { PassThrough } from 'node:stream';
import { Config } from '@oclif/core';
import { expect, it } from 'vitest';
import { withRuntime, type Runtime } from '../../src/core/cli/runtime.ts';
import { commandClass, ROOT } from './run-verb.ts';

it.each([
  [true, undefined],
  [false, 10],
])('store check of a store that is writable: %s', async (writable, exitCode) => {
  const check = { store: '/srv/s', provider: null, writable, probes: [], remarks: [] };
  const api = { call: async () => Promise.resolve(check), [Symbol.asyncDispose]: async () => Promise.resolve() };
  const stdout = new PassThrough();
  const runtime: Runtime = {
    env: { SGW_CONFIG_DIR: '/nonexistent/sgw', HOME: '/nonexistent' },
    stdin: new PassThrough(),
    stdout,
    stderr: new PassThrough(),
    interrupt: new AbortController().signal,
    openGateway: async () => Promise.resolve(api),
  };
  const [found, config] = await Promise.all([commandClass('store check'), Config.load(ROOT)]);
  await withRuntime(runtime, async () => found.run(['--store', '/srv/s', '--json'], config) as Promise<unknown>);
  expect(JSON.parse(String(stdout.read()))).toEqual(check);
  expect(runtime.exitCode).toBe(exitCode);
});
