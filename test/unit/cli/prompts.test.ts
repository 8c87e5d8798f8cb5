/** Questions on a terminal, which is a pair of streams here. */
import { PassThrough } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { confirmOverwrite } from '../../../src/core/cli/prompted.ts';
import { Prompts } from '../../../src/core/cli/prompts.ts';
import type { Runtime } from '../../../src/core/cli/runtime.ts';
import type { Session } from '../../../src/core/cli/session.ts';

/** A terminal whose person types each line when what goes before it is shown. */
function terminal(typed: readonly (readonly [what: RegExp, line: string])[]): {
  runtime: Runtime;
  shown: () => string;
} {
  const stdin = Object.assign(new PassThrough(), { isTTY: true, setRawMode: () => undefined });
  // As with a process, whose standard error nothing ends.
  const stderr = Object.assign(new PassThrough(), { isTTY: true, columns: 80, end: () => stderr });
  let shown = '';
  let unread = '';
  let at = 0;
  stderr.setEncoding('utf8').on('data', (text: string) => {
    shown += text;
    unread += text;
    const [what, line] = typed[at] ?? [];
    if (what?.test(unread) !== true) return;
    at++;
    unread = '';
    setImmediate(() => stdin.write(`${line ?? ''}\r`));
  });
  const runtime: Runtime = {
    env: {},
    stdin,
    stdout: new PassThrough(),
    stderr,
    interrupt: new AbortController().signal,
    openGateway: () => {
      throw new Error('no gateway is opened');
    },
  };
  return { runtime, shown: () => shown };
}

it('a secret that can not be used is asked for again, and nothing of it stays in the next', async () => {
  const { runtime, shown } = terminal([
    [/Secret:/, 'short'],
    [/too short[^]*Secret:/, 'long enough'],
  ]);
  const check = (text: string): void => {
    if (text.length < 8) throw new Error('too short');
  };
  expect(await new Prompts(runtime, true).secret({ message: 'Secret:', flag: '--secret', check })).toBe('long enough');
  expect(shown()).toContain('too short');
  expect(shown()).not.toContain('long enough');
});

it.each([
  [true, 'A snapshot of what is in it is taken first'],
  [false, 'What is in it is lost: no snapshot is taken'],
])('before an image is overwritten, it says whether what is in it is kept: %s', async (snapshotFirst, told) => {
  const { runtime, shown } = terminal([[/y\/N/i, 'n']]);
  const session = { prompts: new Prompts(runtime, true) } as unknown as Session;
  const file = fileURLToPath(import.meta.url);
  await expect(confirmOverwrite(session, false, file, snapshotFirst)).rejects.toMatchObject({ code: 'not-confirmed' });
  expect(shown().replaceAll(/\s+/g, ' ')).toContain(told);
});
