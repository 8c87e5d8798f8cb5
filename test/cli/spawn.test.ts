/** The built program from outside: failures, streams and signals. Runs over the fake gateway. */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { requireThat, requireTool } from '../requirements.ts';
import { PASSPHRASE } from './fake-care.ts';
import { ROOT } from './run-verb.ts';

const built = requireThat(existsSync(path.join(ROOT, 'dist/core/cli/main.js')), 'sgw is not built: run npm run build');
const FAKE = path.join(ROOT, 'test/cli/fake-sgw.ts');
const PROGRAM = path.join(ROOT, 'bin/run.js');
let folder = '';

beforeAll(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'sgw-spawn-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

interface Ended {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const environment = (more: Record<string, string> = {}): NodeJS.ProcessEnv => {
  const inherited = Object.entries(process.env).filter(
    ([name]) => !/^(?:SGW_|NODE_|VITEST|NO_COLOR|FORCE_COLOR|XDG_)/.test(name),
  );
  return { ...Object.fromEntries(inherited), HOME: folder, SGW_CONFIG_DIR: path.join(folder, 'config'), ...more };
};

function start(
  words: readonly string[],
  env: Record<string, string> = {},
  program = FAKE,
): ChildProcessWithoutNullStreams {
  return spawn(process.execPath, [program, ...words], { env: environment(env) });
}

async function end(child: ChildProcessWithoutNullStreams): Promise<Ended> {
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const exitCode = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { exitCode, stdout, stderr };
}

const run = async (words: readonly string[], env: Record<string, string> = {}, program = FAKE): Promise<Ended> =>
  end(start(words, env, program));

/** Runs a line of shell; `$SGW` is the program. */
async function shell(line: string): Promise<Ended> {
  const env = environment({ SGW: `${process.execPath} ${FAKE}` });
  return await end(spawn('sh', ['-c', line], { env }));
}

/** Resolves when the output so far contains `text`. */
async function seen(stream: NodeJS.ReadableStream, text: string): Promise<void> {
  let output = '';
  await new Promise<void>((resolve, reject) => {
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString();
      if (output.includes(text)) resolve();
    });
    stream.on('end', () => {
      reject(new Error(`ended without ${text}: ${output}`));
    });
  });
}

const errorOf = (ended: Ended): Record<string, unknown> =>
  (JSON.parse(ended.stdout) as { error: Record<string, unknown> }).error;

built.describe('usage errors', () => {
  const cases: [string, string[], string][] = [
    ['an unknown command', ['volume', 'lst'], 'unknown-command'],
    ['an unknown topic', ['xyzzy'], 'unknown-command'],
    ['an unknown flag', ['volume', 'list', '--bogus'], 'unknown-flag'],
    ['a missing argument', ['volume', 'show'], 'missing-argument'],
    ['a missing flag', ['volume', 'resize', 'golden'], 'missing-flag'],
    ['a flag without a value', ['volume', 'list', '--home'], 'missing-value'],
    ['a bad value of a global flag', ['status', '--lock-timeout', 'soon'], 'bad-duration'],
    ['a bad account', ['status', '--account', '12'], 'bad-account'],
  ];
  it.each(cases)('%s exits 2 with JSON on standard output', async (_title, words, code) => {
    const ended = await run([...words, '--json'], {}, PROGRAM);
    expect({ exitCode: ended.exitCode, stderr: ended.stderr }).toEqual({ exitCode: 2, stderr: '' });
    expect(errorOf(ended)).toMatchObject({ code, kind: 'invalid', retryable: false });
  });

  it.each(cases)('%s exits 2 with a message on standard error', async (_title, words, code) => {
    const ended = await run(words, {}, PROGRAM);
    expect({ exitCode: ended.exitCode, stdout: ended.stdout }).toEqual({ exitCode: 2, stdout: '' });
    expect(ended.stderr).toContain(`[${code}]`);
    expect(ended.stderr.trim().split('\n').length).toBeLessThanOrEqual(2);
  });

  it('suggests the nearest command', async () => {
    expect((await run(['volum', 'list'])).stderr).toContain('Did you mean "sgw volume list"?');
  });

  it('a topic without a verb prints its help, and with --json is an error', async () => {
    const help = await run(['snapshot']);
    expect(help.exitCode).toBe(0);
    expect(help.stdout).toContain('snapshot create');
    expect(errorOf(await run(['snapshot', '--json']))).toMatchObject({ code: 'missing-command' });
    expect(errorOf(await run(['--json']))).toMatchObject({ code: 'missing-command' });
  });

  it('global flags may come before the command', async () => {
    const ended = await run(['--json', '--home', folder, 'volume', 'list']);
    expect(ended.exitCode).toBe(0);
    expect(JSON.parse(ended.stdout)).toHaveProperty('volumes');
  });

  it('variables are read as flags are, and checked', async () => {
    expect(errorOf(await run(['status'], { SGW_JSON: '1', SGW_PROGRESS: 'loud' }))).toMatchObject({
      code: 'bad-choice',
    });
    const created = await run(['volume', 'create', 'x'], {
      SGW_JSON: '1',
      SGW_VOLUME_CREATE_SIZE: '1MiB',
      SGW_VOLUME_CREATE_TAG: 'a=1,b=2',
    });
    expect(JSON.parse(created.stdout)).toMatchObject({ sizeBytes: 1 << 20, tags: { a: '1', b: '2' } });
  });
});

built.describe('bugs', () => {
  it('exit 1 with code internal, and a stack only with --debug', async () => {
    const plain = await run(['volume', 'import', 'bug', '--name', 'x']);
    expect(plain.exitCode).toBe(1);
    expect(plain.stderr).toContain('[internal]');
    expect(plain.stderr).not.toContain('    at ');
    const debug = await run(['volume', 'import', 'bug', '--name', 'x', '--debug']);
    expect(debug.stderr).toContain('    at ');
    expect(errorOf(await run(['volume', 'import', 'bug', '--name', 'x', '--json']))).toMatchObject({
      code: 'internal',
      kind: 'internal',
    });
  });
});

built.describe('streams', () => {
  it('a reader that leaves early ends the command quietly', async () => {
    const ended = await shell('$SGW volume map golden --json | head -1; $SGW volume --help | head -1');
    expect({ exitCode: ended.exitCode, stderr: ended.stderr }).toEqual({ exitCode: 0, stderr: '' });
    expect(ended.stdout.split('\n')).toEqual(['{', expect.stringContaining('volumes'), '']);
  });

  it('a pipe that is closed before the first write ends the command with 0', async () => {
    const child = start(['volume', 'list']);
    child.stdout.destroy();
    const ended = await end(child);
    expect({ exitCode: ended.exitCode, stderr: ended.stderr }).toEqual({ exitCode: 0, stderr: '' });
  });

  it('closed standard output and standard error are no failure', async () => {
    expect((await shell('$SGW volume list >&-')).exitCode).toBe(0);
    expect((await shell('$SGW volume show nope >&- 2>&-')).exitCode).toBe(3);
  });

  requireThat(existsSync('/dev/full'), 'there is no /dev/full').it(
    'standard output on a full disk exits 6 and says so',
    async () => {
      const ended = await shell('$SGW volume list > /dev/full');
      expect(ended.exitCode).toBe(6);
      expect(ended.stderr).toMatch(/^error: standard output is on .* no space left \[system-enospc\]\n/);
      expect(ended.stderr).toContain('The command itself was done');
      const failed = await shell('$SGW volume show nope --json > /dev/full');
      expect(failed.exitCode).toBe(6);
      expect(failed.stderr).toContain('[volume-not-found]');
      expect(failed.stderr).not.toContain('was done');
    },
  );

  it('nothing but the document is on standard output, and no advice without a terminal', async () => {
    const ended = await run(['volume', 'list']);
    expect(ended.stdout).toContain('golden');
    expect(ended.stdout).not.toContain('\u001b[');
    expect(ended.stderr).toBe('');
  });
});

built.describe('signals', () => {
  it.each(['SIGINT', 'SIGTERM'] as const)('%s stops the running operation and exits 130', async (signal) => {
    const child = start(['volume', 'import', 'endless', '--name', 'x', '--json']);
    const ending = end(child);
    await seen(child.stderr, 'WORKING');
    child.kill(signal);
    const ended = await ending;
    expect(ended.exitCode).toBe(130);
    expect(errorOf(ended)).toMatchObject({ code: 'interrupted', kind: 'aborted', details: { signal } });
  });

  it('a signal that is delivered twice counts once, and one error document comes of it', async () => {
    const child = start(['volume', 'import', 'endless', '--name', 'x', '--json']);
    const ending = end(child);
    await seen(child.stderr, 'WORKING');
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGINT'] as const) child.kill(signal);
    const ended = await ending;
    expect(ended.exitCode).toBe(130);
    expect(errorOf(ended)).toMatchObject({ code: 'interrupted' });
  });

  it('a later SIGINT leaves an operation that does not stop with one error document', async () => {
    const child = start(['volume', 'import', 'stubborn', '--name', 'x', '--json']);
    const ending = end(child);
    await seen(child.stderr, 'WORKING');
    const sending = setInterval(() => child.kill('SIGINT'), 50);
    const ended = await ending;
    clearInterval(sending);
    expect(ended.exitCode).toBe(130);
    expect(errorOf(ended)).toMatchObject({ code: 'interrupted', details: { signal: 'SIGINT' } });
  });

  it('a second SIGINT leaves an operation that does not stop', async () => {
    const child = start(['volume', 'import', 'stubborn', '--name', 'x']);
    const ending = end(child);
    await seen(child.stderr, 'WORKING');
    // A signal is not counted, only pending or not, so it is sent until the process has gone.
    const sending = setInterval(() => child.kill('SIGINT'), 20);
    const { exitCode } = await ending;
    clearInterval(sending);
    expect(exitCode).toBe(130);
  });

  it('--progress json writes progress documents to standard error', async () => {
    const child = start(['volume', 'import', 'endless', '--name', 'x', '--progress', 'json']);
    const ending = end(child);
    await seen(child.stderr, '"progress"');
    child.kill('SIGINT');
    const line = (await ending).stderr.split('\n').find((one) => one.startsWith('{')) ?? '';
    expect(JSON.parse(line)).toMatchObject({
      progress: { label: 'importing endless', doneBytes: 4096, totalBytes: 2 ** 30 },
    });
  });
});

it('NO_COLOR wins over FORCE_COLOR without a warning', async () => {
  const ended = await run(['volume', '--help'], { NO_COLOR: '1', FORCE_COLOR: '1' }, PROGRAM);
  expect(ended.stderr).toBe('');
  expect(ended.stdout).not.toContain('\u001b[');
});

built.describe('preferences', () => {
  it('configure --output json makes every command print JSON, and --no-json turns it off', async () => {
    const env = { SGW_CONFIG_DIR: path.join(folder, 'preferences') };
    expect((await run(['configure', '--output', 'json', '--default-home', folder], env)).exitCode).toBe(0);
    expect(JSON.parse((await run(['volume', 'list'], env)).stdout)).toHaveProperty('volumes');
    expect(errorOf(await run(['volume', 'show'], env))).toMatchObject({ code: 'missing-argument' });
    expect((await run(['volume', 'list', '--no-json'], env)).stdout).toContain('NAME');
    expect(JSON.parse((await run(['configure'], env)).stdout)).toMatchObject({
      preferences: { defaultHome: folder, output: 'json', color: 'auto' },
    });
  });
});

const terminal = requireThat(built.met && requireTool('script').met, 'a terminal needs the program script and a build');

/** Runs the program on a terminal. */
function onTerminal(words: readonly string[], env: Record<string, string> = {}): ChildProcessWithoutNullStreams {
  const line = [process.execPath, FAKE, ...words].map((word) => `'${word}'`).join(' ');
  return spawn('script', ['-qfec', line, '/dev/null'], { env: environment({ TERM: 'xterm', ...env }) });
}

terminal.describe('on a terminal', () => {
  it.each([[[]], [['--json']]])('Ctrl-C in a prompt exits 130 %j', async (flags) => {
    const child = onTerminal(['volume', 'create', ...flags]);
    const ending = end(child);
    await seen(child.stdout, 'Name of the volume');
    child.stdin.write('\u0003');
    const ended = await ending;
    expect(ended.exitCode).toBe(130);
    expect(ended.stdout).toContain('interrupted');
  });

  it('volume create asks for what is missing and tells the next command', async () => {
    const child = onTerminal(['volume', 'create']);
    const ending = end(child);
    await seen(child.stdout, 'Name of the volume');
    child.stdin.write('asked\r');
    await seen(child.stdout, 'Size');
    child.stdin.write('3GiB\r');
    const ended = await ending;
    expect(ended.exitCode).toBe(0);
    expect(ended.stdout).toContain('3 GiB');
    expect(ended.stdout).toContain('sgw volume show asked');
  });

  it.each([
    ['a bad name', ['volume', 'create', 'a/b'], 2, 'Size'],
    ['an unknown volume', ['volume', 'delete', 'nope'], 3, 'Really'],
    ['an unknown snapshot', ['snapshot', 'export', 'nope'], 3, 'File to write'],
  ])('%s is noticed before anything is asked', async (_title, words, exitCode, question) => {
    const ended = await end(onTerminal(words));
    expect(ended.exitCode).toBe(exitCode);
    expect(ended.stdout).not.toContain(question);
    expect(ended.stdout).toContain('error:');
  });

  it('an answer that can not be used is refused in its prompt', async () => {
    writeFileSync(path.join(folder, 'taken.img'), '');
    const child = onTerminal(['snapshot', 'export', 'v1']);
    const ending = end(child);
    await seen(child.stdout, 'File to write');
    child.stdin.write(`${path.join(folder, 'taken.img')}\r`);
    await seen(child.stdout, 'taken.img exists');
    child.stdin.write('\u0003');
    expect((await ending).exitCode).toBe(130);
  });

  it('activate asks nothing of a home that is a gateway already', async () => {
    const ended = await end(onTerminal(['activate']));
    expect(ended.exitCode).toBe(4);
    expect(ended.stdout).not.toContain('Name of this gateway');
  });

  it('coloured values reach the terminal whole', async () => {
    const ended = await end(onTerminal(['volume', 'verify', 'golden']));
    expect(ended.stdout).toContain('\u001b[32mok\u001b[39m');
    expect(ended.stdout).not.toContain('\uFFFD');
  });

  it('--no-input asks nothing', async () => {
    const ended = await end(onTerminal(['volume', 'create', '--no-input']));
    expect(ended.exitCode).toBe(2);
    expect(ended.stdout).toContain('Give the argument NAME.');
  });

  it('a destructive verb asks, and a no changes nothing', async () => {
    const child = onTerminal(['volume', 'delete', 'golden']);
    const ending = end(child);
    await seen(child.stdout, 'Really delete volume');
    child.stdin.write('n\r');
    const ended = await ending;
    expect(ended.exitCode).toBe(130);
    expect(ended.stdout).toContain('nothing was changed');
  });

  it('what a deletion would free is told before the question', async () => {
    const child = onTerminal(['volume', 'delete', 'golden']);
    const ending = end(child);
    await seen(child.stdout, 'Really delete volume');
    child.stdin.write('y\r');
    const ended = await ending;
    expect(ended.exitCode).toBe(0);
    const [before = ''] = ended.stdout.split('Really delete volume');
    expect(before.replaceAll(/\s+/g, ' ')).toContain('frees 4 KiB in the store');
    expect(ended.stdout).toContain('Deleted volume golden');
  });

  it('C16 a passphrase is asked for once and never shown', async () => {
    const child = onTerminal(['volume', 'delete', 'golden'], { SGW_FAKE: 'encrypted' });
    const ending = end(child);
    await seen(child.stdout, 'Passphrase of the store');
    child.stdin.write(`${PASSPHRASE}\r`);
    await seen(child.stdout, 'Really delete volume');
    child.stdin.write('y\r');
    const ended = await ending;
    expect(ended.exitCode).toBe(0);
    expect(ended.stdout).toContain('Deleted volume golden');
    expect(ended.stdout).not.toContain(PASSPHRASE.slice(0, 7));
  });

  it('C16 status asks for no passphrase, and uses one that is given', async () => {
    const shut = await end(onTerminal(['status'], { SGW_FAKE: 'encrypted' }));
    expect(shut.exitCode).toBe(0);
    expect(shut.stdout).toContain('The store is shut');
    expect(shut.stdout).not.toContain('Passphrase of the store');
    const open = await end(onTerminal(['status'], { SGW_FAKE: 'encrypted', SGW_PASSPHRASE: PASSPHRASE }));
    expect(open.stdout).toContain('The store is open');
  });

  it('C16 a new passphrase is asked for twice', async () => {
    const child = onTerminal(['activate', '--name', 'lab', '--mode', 'cached', '--encrypt'], { SGW_FAKE: 'empty' });
    const ending = end(child);
    await seen(child.stdout, 'New passphrase');
    child.stdin.write('a long secret\r');
    await seen(child.stdout, 'The same again');
    child.stdin.write('another secret\r');
    await seen(child.stdout, 'New passphrase');
    child.stdin.write('a long secret\r');
    await seen(child.stdout, 'The same again');
    child.stdin.write('a long secret\r');
    const ended = await ending;
    expect(ended.stdout).toContain('The passphrases differ');
    expect(ended.exitCode).toBe(0);
    expect(ended.stdout).toContain('Recovery code, shown this once');
    expect(ended.stdout).not.toMatch(/a long|another/);
  });

  it('an unknown command asks whether the nearest was meant, and runs it', async () => {
    const child = onTerminal(['volume', 'lst']);
    const ending = end(child);
    await seen(child.stdout, 'Did you mean "sgw volume list"?');
    child.stdin.write('y\r');
    const ended = await ending;
    expect(ended.exitCode).toBe(0);
    expect(ended.stdout).toContain('golden');
  });

  it('an unknown command with --no-input exits 2 at once', async () => {
    expect((await end(onTerminal(['volume', 'lst', '--no-input']))).exitCode).toBe(2);
  });
});

const bash = requireThat(built.met && requireTool('bash').met, 'completion needs bash and a build');

bash.describe('completion', () => {
  it('names of volumes and snapshots are completed where a command takes them', async () => {
    expect((await run(['__complete', 'volume', 'show', 'go'])).stdout).toBe('golden\n');
    expect((await run(['__complete', 'snapshot', 'diff', 'v1', 'v'])).stdout).toBe('v1\nv2\n');
    expect((await run(['__complete', 'volume', 'create', 'x', '--from-snapshot', 'o'])).stdout).toBe('o1\n');
    expect((await run(['__complete', 'volume', 'undelete', ''])).stdout).toBe('gone\n');
    expect((await run(['__complete', 'snapshot', 'share', 'v1', '--with', ''])).stdout).toBe('000000000001\n');
    expect((await run(['__complete', 'store', 'stats', '--account', '0'])).stdout).toBe('000000000001\n');
    expect(await run(['__complete', 'volume', 'import', ''])).toEqual({ exitCode: 0, stdout: '', stderr: '' });
  });

  it('a home that can not be read offers no names and does not fail', async () => {
    expect(await run(['__complete', 'volume', 'show', ''], { SGW_FAKE: 'empty' })).toEqual({
      exitCode: 0,
      stdout: '',
      stderr: '',
    });
  });

  it('C16 an encrypted store offers names with a secret of a variable, asks for none, and fails quietly', async () => {
    const words = ['__complete', 'volume', 'show', 'go'];
    const env = { SGW_FAKE: 'encrypted' };
    expect(await run(words, env)).toEqual({ exitCode: 0, stdout: '', stderr: '' });
    expect((await run(words, { ...env, SGW_PASSPHRASE: PASSPHRASE })).stdout).toBe('golden\n');
  });

  it('bash completes commands and names after sgw autocomplete', async () => {
    const cache = path.join(folder, 'cache');
    expect((await run(['autocomplete', 'bash'], { SGW_CACHE_DIR: cache })).exitCode).toBe(0);
    const script = `
      sgw() { "${process.execPath}" "${FAKE}" "$@"; }
      source "${cache}/autocomplete/functions/bash/sgw.bash"
      try() { COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); _sgw_complete; echo "\${COMPREPLY[*]}"; }
      try sgw volume show go
      try sgw snapshot export v
      try sgw store gc --account 0
      try sgw volume li`;
    const ended = await end(spawn('bash', ['-c', script], { env: environment() }));
    expect(
      ended.stdout
        .trim()
        .split('\n')
        .map((line) => line.trim()),
    ).toEqual(['golden', 'v1 v2', '000000000001', 'list']);
  });
});
