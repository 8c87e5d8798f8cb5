/** One call of the local API in a process of its own: `node call.ts HOME OPERATION INPUT`. Ends with a JSON line on stdout. */
import { openInProcess } from '../../src/core/daemon/index.ts';
import { ERROR_KINDS, toSgwError } from '../../src/core/kit/index.ts';
import type { Input, OperationName } from '../../src/core/localapi/index.ts';

const [home = '', operation = '', text = '{}'] = process.argv.slice(2);
const stop = new AbortController();
process.once('SIGINT', () => {
  stop.abort();
});
try {
  await using api = await openInProcess({ home });
  const context = {
    signal: stop.signal,
    onProgress: () => process.stdout.write('progress\n'),
    lockTimeoutMs: 60_000,
  };
  const name = operation as OperationName;
  const result = await api.call(name, JSON.parse(text) as Input<typeof name>, context);
  process.stdout.write(`${JSON.stringify(result)}\n`);
} catch (error) {
  const failure = toSgwError(error);
  process.stdout.write(`${JSON.stringify({ error: failure.toDocument() })}\n`);
  process.exitCode = ERROR_KINDS[failure.kind].exitCode;
}
