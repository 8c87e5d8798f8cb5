/** The gateway daemon from outside: the built program, real processes, signals, sockets and files. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { appendFileSync, existsSync, readdirSync, readFileSync, renameSync, statSync } from 'node:fs';
import { get, type RequestOptions } from 'node:http';
import path from 'node:path';
import { urlToHttpOptions } from 'node:url';
import { Value } from 'typebox/value';
import { expect } from 'vitest';
import { GatewayRestart, GatewayStart, GatewayTop, LogLine } from '../../src/core/cli/documents.ts';
import { GatewayDocument, GatewayStopDocument, StatusDocument } from '../../src/core/localapi/schemas.ts';
import { requireThat, requireTool } from '../requirements.ts';
import { ended, HomeRig, isAlive, until } from './gateway-rig.ts';
import { ROOT } from './run-verb.ts';

const TIMEOUT = 120_000;
const built = requireThat(existsSync(path.join(ROOT, 'dist/core/cli/main.js')), 'sgw is not built: run npm run build');
const it = (name: string, test: () => Promise<void>): void => {
  built.it(name, test, TIMEOUT);
};
const mode = (file: string): string => (statSync(file).mode & 0o777).toString(8);

it('start waits until calls are answered over the socket, with the documents that they have in process', async () => {
  await using rig = await HomeRig.activated();
  await rig.ok('volume', 'create', 'a', '--size', '8MiB');
  const offline = await Promise.all([
    rig.ok('volume', 'list'),
    rig.failure('volume', 'show', 'nope'),
    rig.failure('volume', 'list', '--account', '000000000777'),
    rig.ok('status'),
  ]);
  const started = await rig.ok('gateway', 'start');
  expect([...Value.Errors(GatewayStart, started)]).toEqual([]);
  expect(started).toMatchObject({ started: true, pid: rig.daemonPid(), socket: path.join(rig.home, 'gateway.sock') });
  const online = await Promise.all([
    rig.ok('volume', 'list'),
    rig.failure('volume', 'show', 'nope'),
    rig.failure('volume', 'list', '--account', '000000000777'),
    rig.ok('status'),
  ]);
  expect(online.slice(0, 3)).toEqual(offline.slice(0, 3));
  expect([...Value.Errors(StatusDocument, online[3])]).toEqual([]);
  expect(online[3]).toMatchObject({ daemon: { running: true, pid: started['pid'] } });
  expect({ ...online[3], daemon: 0, store: 0 }).toEqual({ ...offline[3], daemon: 0, store: 0 });
  const shown = await rig.ok('gateway', 'show');
  expect([...Value.Errors(GatewayDocument, shown)]).toEqual([]);
  expect(shown).toMatchObject({ name: 'lab', state: 'serving', pid: started['pid'], background: true });
});

it('start leaves a gateway alone that runs; stop ends it with its process, and again is a success', async () => {
  await using rig = await HomeRig.activated();
  const { pid } = await rig.ok('gateway', 'start');
  expect(await rig.ok('gateway', 'start')).toMatchObject({ started: false, pid });
  expect(await rig.failure('gateway', 'run')).toMatchObject({ exitCode: 4, code: 'gateway-running' });
  const stopped = await rig.ok('gateway', 'stop');
  expect([...Value.Errors(GatewayStopDocument, stopped)]).toEqual([]);
  expect(stopped).toMatchObject({ stopped: true, pid, drained: true, dirtyBytes: 0 });
  await until('the process is gone', () => !isAlive(pid as number));
  expect(existsSync(path.join(rig.home, 'gateway.sock'))).toBe(false);
  expect(existsSync(path.join(rig.home, 'gateway.json'))).toBe(false);
  expect(rig.daemonPid()).toBeUndefined();
  expect(await rig.ok('gateway', 'stop')).toMatchObject({ stopped: false, pid: null });
  expect(await rig.failure('gateway', 'show')).toMatchObject({ exitCode: 5, code: 'daemon-needed', retryable: true });
  expect(await rig.ok('gateway', 'show', '--start')).toMatchObject({ state: 'serving' });
});

it('the socket, the log and what tells of them are for their owner alone', async () => {
  await using rig = await HomeRig.activated();
  const umask = process.umask(0);
  try {
    await rig.ok('gateway', 'start');
  } finally {
    process.umask(umask);
  }
  expect(mode(rig.home)).toBe('700');
  expect(mode(path.join(rig.home, 'gateway.sock'))).toBe('600');
  expect(mode(path.join(rig.home, 'gateway.json'))).toBe('600');
  expect(mode(path.join(rig.home, 'logs'))).toBe('700');
  expect(mode(path.join(rig.home, 'logs', 'gateway.log'))).toBe('600');
});

it('a gateway that was killed leaves nothing in the way of commands or of the next start', async () => {
  await using rig = await HomeRig.activated();
  const { pid } = await rig.ok('gateway', 'start');
  process.kill(pid as number, 'SIGKILL');
  await until('it is dead', () => !isAlive(pid as number));
  expect(existsSync(path.join(rig.home, 'gateway.sock'))).toBe(true);
  expect(await rig.ok('volume', 'list')).toEqual({ volumes: [] });
  expect(await rig.ok('status')).toMatchObject({ daemon: { running: false, pid: null } });
  expect(await rig.ok('gateway', 'stop')).toMatchObject({ stopped: false });
  const again = await rig.ok('gateway', 'start');
  expect(again).toMatchObject({ started: true });
  expect(again['pid']).not.toBe(pid);
  expect(await rig.ok('volume', 'list')).toEqual({ volumes: [] });
});

it('in a home that is not activated it says so, and makes none', async () => {
  await using rig = new HomeRig();
  for (const verb of ['start', 'run', 'restart'])
    expect(await rig.failure('gateway', verb)).toMatchObject({
      exitCode: 4,
      code: 'not-activated',
      hint: 'sgw activate',
    });
  expect(existsSync(rig.home)).toBe(false);
});

it('what keeps it from starting is said as the gateway itself says it', async () => {
  await using rig = await HomeRig.activated();
  renameSync(path.join(rig.home, 'store'), path.join(rig.home, 'elsewhere'));
  expect(await rig.failure('gateway', 'start')).toMatchObject({ exitCode: 3, code: 'store-missing' });
  expect(rig.daemonPid()).toBeUndefined();
  expect(rig.log().at(-1)).toMatchObject({ level: 'error', err: { code: 'store-missing' } });
});

it('of starts at the same time one starts it, and all succeed', async () => {
  await using rig = await HomeRig.activated();
  const started = await Promise.all([1, 2, 3].map(async () => rig.ok('gateway', 'start')));
  expect(started.filter((one) => one['started'] === true)).toHaveLength(1);
  expect(new Set(started.map((one) => one['pid']))).toEqual(new Set([rig.daemonPid()]));
});

it('a home whose path is too long for a socket has it in a folder of its own', async () => {
  await using rig = await HomeRig.activated(`${'deep/'.repeat(24)}home`);
  const { socket } = (await rig.ok('gateway', 'start')) as { socket: string };
  expect(socket.startsWith(rig.home)).toBe(false);
  expect(Buffer.byteLength(socket)).toBeLessThan(108);
  expect([mode(socket), mode(path.dirname(socket))]).toEqual(['600', '700']);
  expect(await rig.ok('gateway', 'show')).toMatchObject({ socket });
  process.kill(rig.daemonPid() as number, 'SIGKILL');
  const { socket: next } = (await rig.ok('gateway', 'start')) as { socket: string };
  expect(next === socket || !existsSync(path.dirname(socket))).toBe(true);
  await rig.ok('gateway', 'stop');
  expect(existsSync(path.dirname(next))).toBe(false);
});

it('in the foreground it logs JSON, reloads on SIGHUP, and ends in order on SIGTERM', async () => {
  await using rig = await HomeRig.activated();
  const child = rig.spawn(['gateway', 'run']);
  let log = '';
  child.stderr?.on('data', (chunk: Buffer) => (log += chunk.toString()));
  const end = ended(child);
  await until('it is ready', () => log.includes('"message":"ready"'));
  expect(await rig.ok('gateway', 'show')).toMatchObject({ background: false, pid: child.pid });
  expect(await rig.failure('gateway', 'restart')).toMatchObject({ exitCode: 10, code: 'gateway-foreground' });
  child.kill('SIGHUP');
  await until('it has reloaded', () => log.includes('read the configuration again'));
  child.kill('SIGTERM');
  const { exitCode, stdout } = await end;
  expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: '' });
  const lines = log
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { time: string; level: string; message: string });
  expect(lines.map(({ message }) => message).filter((message) => message !== 'call')).toEqual([
    'ready',
    'read the configuration again',
    'stopping',
    'stopped serving',
    'ended',
  ]);
  expect(existsSync(path.join(rig.home, 'gateway.sock'))).toBe(false);
  expect(rig.daemonPid()).toBeUndefined();
});

it('restart replaces the process; commands that come meanwhile see a pause and no error', async () => {
  await using rig = await HomeRig.activated();
  const { pid } = await rig.ok('gateway', 'start', '--log-level', 'debug');
  const over = new AbortController();
  const others = (async () => {
    const codes: (number | null)[] = [];
    while (!over.signal.aborted) codes.push((await rig.run(['volume', 'list'])).exitCode);
    return codes;
  })();
  const restarted = await rig.ok('gateway', 'restart');
  over.abort();
  expect([...Value.Errors(GatewayRestart, restarted)]).toEqual([]);
  expect(restarted).toMatchObject({ previousPid: pid, pid: rig.daemonPid() });
  expect(new Set(await others)).toEqual(new Set([0]));
  // What waits for the new one would give up after 30 s.
  expect(restarted['pauseMs']).toBeLessThan(30_000);
  await until('the old one is gone', () => !isAlive(pid as number));
  // With the flags of the old one: this look is told at debug only.
  await rig.ok('volume', 'list');
  expect(rig.log().at(-1)).toMatchObject({ level: 'debug', operation: 'volume.list', outcome: 'ok' });
});

it('logs shows the end of the log, and follows it', async () => {
  await using rig = await HomeRig.activated();
  expect(await rig.failure('gateway', 'logs')).toMatchObject({ exitCode: 3, code: 'no-log' });
  await rig.ok('gateway', 'start');
  const { stdout } = await rig.run(['gateway', 'logs', '--json', '--lines', '1']);
  const line = JSON.parse(stdout) as Record<string, unknown>;
  expect([...Value.Errors(LogLine, line)]).toEqual([]);
  expect(line).toMatchObject({ level: 'info', message: 'ready' });
  const following = rig.spawn(['gateway', 'logs', '-f', '--json']);
  let followed = '';
  following.stdout?.on('data', (chunk: Buffer) => (followed += chunk.toString()));
  const end = ended(following);
  await until('the past is there', () => followed.includes('"ready"'));
  await rig.ok('volume', 'create', 'a', '--size', '1MiB');
  await until('the call is there', () => followed.includes('volume.create'));
  following.kill('SIGINT');
  expect((await end).exitCode).toBe(0);
  expect((await rig.run(['gateway', 'logs'])).stdout).toMatch(/INFO {2}ready home=/);
});

/** An image that takes a while to import, also on a fast machine. */
function slowImage(rig: HomeRig): string {
  const piece = randomBytes(64 << 20);
  const file = rig.file('slow.img', piece);
  for (let i = 0; i < 19; i++) appendFileSync(file, piece);
  return file;
}

it('Ctrl-C ends the call in the daemon too, which goes on', async () => {
  await using rig = await HomeRig.activated();
  await rig.ok('gateway', 'start');
  const child = rig.spawn(['volume', 'import', slowImage(rig), '--name', 'slow', '--progress', 'json', '--json']);
  const end = ended(child);
  await new Promise((resolve) => child.stderr?.once('data', resolve));
  child.kill('SIGINT');
  const { exitCode, stdout } = await end;
  expect(exitCode).toBe(130);
  expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'interrupted', kind: 'aborted' } });
  await until('the daemon has ended it', () => rig.log().some((line) => line['outcome'] === 'caller-gone'));
  const again = await rig.ok(
    'volume',
    'import',
    path.join(rig.folder, 'slow.img'),
    '--name',
    'slow',
    '--if-not-exists',
  );
  expect(again).toMatchObject({ name: 'slow', resumed: true });
});

it('a daemon that dies during a call is told as that, and the call can be made again', async () => {
  await using rig = await HomeRig.activated();
  const { pid } = await rig.ok('gateway', 'start');
  const image = slowImage(rig);
  const child = rig.spawn(['volume', 'import', image, '--name', 'slow', '--progress', 'json', '--json']);
  const end = ended(child);
  await new Promise((resolve) => child.stderr?.once('data', resolve));
  process.kill(pid as number, 'SIGKILL');
  const { exitCode, stdout } = await end;
  expect(exitCode).toBe(5);
  expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'gateway-gone', details: { pid } } });
  expect(await rig.ok('volume', 'import', image, '--name', 'slow', '--if-not-exists')).toMatchObject({ resumed: true });
});

it('a home with a daemon can not be deactivated under it', async () => {
  await using rig = await HomeRig.activated();
  await rig.ok('gateway', 'start');
  expect(await rig.failure('deactivate', '--yes')).toMatchObject({ exitCode: 4, code: 'gateway-running' });
  await rig.ok('gateway', 'stop');
  await rig.ok('deactivate', '--yes');
});

it('an encrypted store is unlocked at the start, by nothing that others can see', async () => {
  const passphrase = 'correct horse battery';
  await using rig = new HomeRig();
  const file = rig.file('passphrase', passphrase);
  await rig.ok('activate', '--name', 'lab', '--encrypt', '--passphrase-file', file);
  expect(await rig.failure('gateway', 'start')).toMatchObject({ exitCode: 2, code: 'key-missing' });
  const wrong = await rig.run(['gateway', 'start', '--json'], { SGW_PASSPHRASE: 'something else' });
  expect(wrong).toMatchObject({ exitCode: 8 });
  const chap = 'kumquat-7f3a-1';
  const secrets = { SGW_PASSPHRASE: passphrase, SGW_CHAP_SECRET: chap, SGW_CHAP_TARGET_SECRET: chap };
  await rig.okWith(secrets, 'gateway', 'start');
  const pid = String(rig.daemonPid());
  for (const name of ['cmdline', 'environ'])
    for (const secret of [passphrase, chap])
      expect(readFileSync(`/proc/${pid}/${name}`, 'latin1')).not.toContain(secret);
  await rig.ok('volume', 'create', 'a', '--size', '1MiB');
  expect(await rig.ok('volume', 'list')).toMatchObject({ volumes: [{ name: 'a' }] });
  // What changes how the store is opened asks the caller all the same, through the daemon.
  expect(await rig.failure('store', 'rekey', '--recovery-kit')).toMatchObject({ exitCode: 2, code: 'key-missing' });
  expect(await rig.ok('store', 'rekey', '--recovery-kit', '--passphrase-file', file)).toHaveProperty('recoveryCode');
  expect(await rig.failure('gateway', 'restart')).toMatchObject({ exitCode: 2, code: 'key-missing' });
  expect(String(rig.daemonPid())).toBe(pid);
  await rig.ok('gateway', 'restart', '--passphrase-file', file);
  expect(await rig.ok('volume', 'list')).toMatchObject({ volumes: [{ name: 'a' }] });
  expect(readFileSync(path.join(rig.home, 'logs', 'gateway.log'), 'utf8')).not.toContain(passphrase);
});

it('the metrics are at the socket, and at an address of this machine when that is asked for', async () => {
  await using rig = await HomeRig.activated();
  const { socket } = (await rig.ok('gateway', 'start', '--metrics-listen', '0')) as { socket: string };
  const { metricsUrl } = (await rig.ok('gateway', 'show')) as { metricsUrl: string };
  expect(metricsUrl).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/metrics$/);
  const status = async (where: RequestOptions): Promise<number | undefined> =>
    new Promise((resolve, reject) => {
      get(where, (response) => {
        response.resume();
        resolve(response.statusCode);
      }).once('error', reject);
    });
  expect(await status({ socketPath: socket, path: '/metrics' })).toBe(200);
  expect(await status(urlToHttpOptions(new URL(metricsUrl)))).toBe(200);
  expect(await status(urlToHttpOptions(new URL('/v1/ping', metricsUrl)))).toBe(404);
});

const script = requireTool('script');
script.it(
  'top has a terminal to itself until q, and leaves it as it was',
  async () => {
    if (!built.met) return;
    await using rig = await HomeRig.activated();
    await rig.ok('gateway', 'start');
    const line = `${process.execPath} ${path.join(ROOT, 'bin/run.js')} gateway top --home ${rig.home}`;
    const child = spawn('script', ['-qec', line, '/dev/null'], { env: { ...process.env, NO_COLOR: '1' } });
    let screen = '';
    child.stdout.on('data', (chunk: Buffer) => (screen += chunk.toString()));
    const end = ended(child);
    await until('it has drawn', () => screen.includes('No volume is attached.'));
    child.stdin.write('q');
    expect((await end).exitCode).toBe(0);
    expect(screen.trim().startsWith('\u001b[?1049h')).toBe(true);
    expect(screen.trim().endsWith('\u001b[?1049l')).toBe(true);
  },
  TIMEOUT,
);

it('top prints a document a line until Ctrl-C', async () => {
  await using rig = await HomeRig.activated();
  expect(await rig.failure('gateway', 'top')).toMatchObject({ exitCode: 5, code: 'daemon-needed' });
  await rig.ok('gateway', 'start');
  const child = rig.spawn(['gateway', 'top', '--json', '--interval', '100ms']);
  let lines = '';
  child.stdout?.on('data', (chunk: Buffer) => (lines += chunk.toString()));
  const end = ended(child);
  await until('there are three', () => lines.split('\n').length > 3);
  child.kill('SIGINT');
  expect((await end).exitCode).toBe(0);
  for (const line of lines.trim().split('\n')) expect([...Value.Errors(GatewayTop, JSON.parse(line))]).toEqual([]);
});

const qemu = requireTool('qemu-img');
qemu.it(
  'a client that connects again sees a restart as a pause, and what it wrote is there',
  async () => {
    if (!built.met) return;
    await using rig = await HomeRig.activated();
    await rig.ok('gateway', 'start');
    await rig.ok('volume', 'create', 'a', '--size', '64MiB');
    await rig.ok('volume', 'attach', 'a');
    const server = `driver=nbd,server.type=unix,server.path=${path.join(rig.home, 'nbd.sock')},export=a,reconnect-delay=60`;
    const words = ['bench', '-w', '-c', '16000', '-d', '8', '-s', '4096', '--pattern=165', '--image-opts', server];
    const end = ended(spawn('qemu-img', words));
    await until('it writes', () => writesOf(rig) > 500);
    await rig.ok('gateway', 'restart');
    expect(await end).toMatchObject({ exitCode: 0 });
    // 16000 pages from the beginning on, as often as the volume is long.
    await rig.ok('gateway', 'stop');
    await rig.ok('snapshot', 'create', 'a', '--name', 's');
    const out = path.join(rig.folder, 'out.img');
    await rig.ok('snapshot', 'export', 's', out);
    expect(
      readFileSync(out)
        .subarray(0, 16_000 * 4096)
        .every((byte) => byte === 165),
    ).toBe(true);
  },
  TIMEOUT,
);

/** Bytes in the write log of the only volume, in pages: what a client has written. */
function writesOf(rig: HomeRig): number {
  const [volumeId = ''] = readdirSync(path.join(rig.home, 'volumes'));
  const folder = path.join(rig.home, 'volumes', volumeId, 'log');
  const blocks = readdirSync(folder).map((name) => statSync(path.join(folder, name)).blocks);
  return blocks.reduce((sum, count) => sum + count, 0) / 8;
}

it('a gateway whose address is taken says so, and leaves its volumes as they were', async () => {
  await using rig = await HomeRig.activated();
  await rig.ok('gateway', 'start', '--metrics-listen', '0');
  await rig.ok('volume', 'create', 'a', '--size', '1MiB');
  await rig.ok('volume', 'attach', 'a');
  const { metricsUrl } = (await rig.ok('gateway', 'show')) as { metricsUrl: string };
  await using other = await HomeRig.activated();
  expect(await other.failure('gateway', 'start', '--metrics-listen', new URL(metricsUrl).port)).toMatchObject({
    exitCode: 5,
    code: 'address-in-use',
  });
  expect(other.daemonPid()).toBeUndefined();
  await rig.ok('gateway', 'stop');
  expect(await rig.ok('gateway', 'show', '--start')).toMatchObject({ volumes: [{ name: 'a', state: 'available' }] });
});
