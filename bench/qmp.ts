/**
 * Gives a QEMU monitor commands: `node bench/qmp.ts SOCKET COMMAND...`, each in JSON, with `{"untilReady": JOB}` for waiting
 * until a block job has caught up. Ends with 1 at the first that fails.
 */
import { createConnection } from 'node:net';
import { createInterface } from 'node:readline';

interface Answer {
  readonly error?: { readonly desc: string };
  readonly event?: string;
  readonly return?: unknown;
}

const [socket = '', ...commands] = process.argv.slice(2);
const connection = createConnection(socket);
const lines = createInterface({ input: connection })[Symbol.asyncIterator]();

/** The next answer that is no event. */
async function answer(): Promise<Answer> {
  for (;;) {
    const { value, done } = await lines.next();
    if (done === true) throw new Error('the monitor hung up');
    const parsed = JSON.parse(value) as Answer;
    if (parsed.error !== undefined) throw new Error(parsed.error.desc);
    if (parsed.event === undefined) return parsed;
  }
}

async function ask(command: object): Promise<unknown> {
  connection.write(`${JSON.stringify(command)}\n`);
  return (await answer()).return;
}

async function untilReady(job: string): Promise<void> {
  for (;;) {
    const jobs = (await ask({ execute: 'query-block-jobs' })) as { device: string; ready: boolean }[];
    if (jobs.some(({ device, ready }) => device === job && ready)) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

await answer();
await ask({ execute: 'qmp_capabilities' });
for (const text of commands) {
  const command = JSON.parse(text) as { readonly untilReady?: string };
  if (command.untilReady === undefined) await ask(command);
  else await untilReady(command.untilReady);
}
connection.destroy();
