/** `sgw service run` as it is installed: the first start, customers over SigV4, kills, a second server, and how it ends. */
import { execFileSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { request as httpsRequest } from 'node:https';
import path from 'node:path';
import { connect } from 'node:tls';
import { Sha256 } from '@aws-crypto/sha256-js';
import { SignatureV4 } from '@smithy/signature-v4';
import Value from 'typebox/value';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ServiceReadyDocument } from '../../src/core/localapi/schemas.ts';
import { HomeRig } from '../cli/gateway-rig.ts';
import { requireTool, toolPath } from '../requirements.ts';

interface Running {
  readonly ready: ServiceReadyDocument;
  readonly child: ChildProcess;
  readonly ca: string;
  /** All that it has said so far. */
  readonly stdout: () => string;
  readonly stderr: () => string;
}

interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

const READY_WITHIN_MS = 60_000;
const ANY = ['--listen', '127.0.0.1:0', '--gateway-listen', '127.0.0.1:0'];

let rig: HomeRig;
beforeEach(() => {
  rig = new HomeRig();
});
afterEach(async () => {
  await rig[Symbol.asyncDispose]();
});

async function start(...flags: string[]): Promise<Running> {
  const child = rig.spawn(['service', 'run', ...ANY, '--json', '--log-level', 'debug', ...flags]);
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (part: Buffer) => (stdout += part.toString('utf8')));
  child.stderr?.on('data', (part: Buffer) => (stderr += part.toString('utf8')));
  await expect.poll(() => stdout.includes('\n') || child.exitCode !== null, { timeout: READY_WITHIN_MS }).toBe(true);
  if (child.exitCode !== null) throw new Error(`it ended with ${String(child.exitCode)}: ${stdout}${stderr}`);
  const ready = JSON.parse(stdout) as ServiceReadyDocument;
  expect([...Value.Errors(ServiceReadyDocument, ready)]).toEqual([]);
  const ca = await ask(ready, undefined, { path: '/ca.pem' });
  return { ready, child, ca: ca.text, stdout: () => stdout, stderr: () => stderr };
}

/** Kills the server itself, not only what started it. */
async function kill({ ready, child }: Running): Promise<void> {
  const gone = once(child, 'exit');
  process.kill(ready.pid, 'SIGKILL');
  await gone;
}

async function ask(
  { url }: Pick<ServiceReadyDocument, 'url'>,
  ca: string | undefined,
  options: {
    readonly method?: string;
    readonly path: string;
    readonly headers?: Record<string, string>;
    readonly body?: string;
  },
): Promise<{ readonly status: number; readonly text: string }> {
  const { body, ...rest } = options;
  return await new Promise((resolve, reject) => {
    const trust = ca === undefined ? { rejectUnauthorized: false } : { ca };
    const request = httpsRequest(url, { ...trust, ...rest, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (part: string) => (text += part));
      response.on('end', () => {
        resolve({ status: response.statusCode ?? 0, text });
      });
    });
    request.on('error', reject);
    request.end(body);
  });
}

async function say(to: Running, who: Credentials, name: string, input: object): Promise<Record<string, unknown>> {
  const body = JSON.stringify(input);
  const where = `/v1/messages/${name}`;
  const signer = new SignatureV4({ credentials: who, region: 'local', service: 'sgw', sha256: Sha256 });
  const { headers } = await signer.sign({
    ...{ method: 'POST', protocol: 'https:', hostname: '127.0.0.1', path: where, query: {}, body },
    headers: { host: new URL(to.ready.url).host, 'content-type': 'application/json' },
  });
  return JSON.parse((await ask(to.ready, to.ca, { method: 'POST', path: where, headers, body })).text) as Record<
    string,
    unknown
  >;
}

const keyOf = ({ ready }: Running): Credentials => {
  if (ready.rootKey === null) throw new Error('no key was told');
  return ready.rootKey;
};

/** Every file below a folder. */
const filesBelow = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name));

describe('the first start', () => {
  it('makes the root account, whose key makes others, which may less; all of it outlives a kill', async () => {
    const first = await start();
    const root = keyOf(first);
    const { accountId } = await say(first, root, 'account.create', {
      name: 'anna',
      accountId: null,
      clientToken: null,
    });
    const anna = (await say(first, root, 'key.create', { accountId, userName: 'anna' })) as unknown as Credentials;
    expect(await say(first, anna, 'account.list', {})).toMatchObject({ error: { code: 'root-needed' } });
    const wrong = { ...anna, secretAccessKey: root.secretAccessKey };
    expect(await say(first, wrong, 'service.describe', {})).toMatchObject({ error: { code: 'signature-wrong' } });
    const unsigned = await ask(first.ready, first.ca, {
      ...{
        method: 'POST',
        path: '/v1/messages/account.list',
        headers: { 'content-type': 'application/json' },
        body: '{}',
      },
    });
    expect(unsigned).toMatchObject({ status: 403 });
    await kill(first);

    const again = await start();
    expect(again.ready).toMatchObject({ rootKey: null, serviceId: first.ready.serviceId });
    expect(again.ready.caFingerprint).toBe(first.ready.caFingerprint);
    expect(again.ca).toBe(first.ca);
    expect(await say(again, anna, 'account.find', { accountId: String(accountId) })).toMatchObject({ name: 'anna' });
    expect(await say(again, root, 'account.list', {})).toMatchObject({ accounts: { length: 2 } });
  });

  it('tells the secret once, on standard output, and leaves it nowhere', async () => {
    const logFile = path.join(rig.folder, 'logs', 'service.log');
    const running = await start('--log-file', logFile);
    const { secretAccessKey } = keyOf(running);
    await say(running, keyOf(running), 'service.describe', {});
    await kill(running);
    expect(running.stdout().split(secretAccessKey)).toHaveLength(2);
    expect(running.stderr()).toBe('');
    expect(readFileSync(logFile, 'utf8')).toContain('"message":"ready"');
    for (const file of filesBelow(rig.folder))
      expect(readFileSync(file, 'latin1'), file).not.toContain(secretAccessKey);
    const key = path.join(rig.home, 'service.key');
    expect(statSync(key).mode & 0o777).toBe(0o600);
    for (const file of filesBelow(path.join(rig.home, 'store')))
      expect(readFileSync(file, 'latin1'), file).not.toContain(readFileSync(key, 'utf8').split(':')[1]?.trim());
  });

  it('killed at any moment, is made up by the next one', async () => {
    for (const afterMs of [300, 500, 700, 900]) {
      const child = rig.spawn(['service', 'run', ...ANY, '--json']);
      await new Promise((resolve) => setTimeout(resolve, afterMs));
      const gone = once(child, 'exit');
      for (const pid of [...childrenOf(child.pid ?? 0), child.pid ?? 0]) killIfThere(pid);
      await gone;
    }
    const running = await start('--new-root-key');
    expect(await say(running, keyOf(running), 'account.list', {})).toMatchObject({
      accounts: [{ name: 'root', accountId: running.ready.rootAccountId }],
    });
  });
});

describe('a second server', () => {
  it('over the same store and with the same service key is the same service', async () => {
    const first = await start();
    const second = await start('--service-key-file', path.join(rig.home, 'service.key'));
    expect(second.ready).toMatchObject({ rootKey: null, caFingerprint: first.ready.caFingerprint });
    const made = await say(first, keyOf(first), 'account.create', { name: 'x', accountId: null, clientToken: null });
    expect(await say(second, keyOf(first), 'account.find', { accountId: made['accountId'] as string })).toMatchObject({
      name: 'x',
    });
  });

  it('with another service key, or none, does not start', async () => {
    await kill(await start());
    const store = ['--store', path.join(rig.home, 'store')];
    const other = new HomeRig('other');
    try {
      const none = await other.run(['service', 'run', ...ANY, ...store, '--json']);
      expect(none.exitCode).toBe(3);
      expect(none.stdout).toContain('service-key-missing');
      mkdirSync(other.home, { recursive: true });
      const key = path.join(other.home, 'service.key');
      writeFileSync(key, `sgw-service-1:${Buffer.alloc(32, 1).toString('base64url')}\n`, { mode: 0o600 });
      const wrong = await other.run(['service', 'run', ...ANY, ...store, '--json']);
      expect([wrong.exitCode, wrong.stdout]).toEqual([8, expect.stringContaining('service-key-wrong')]);
      chmodSync(key, 0o644);
      const open = await other.run(['service', 'run', ...ANY, ...store, '--json']);
      expect([open.exitCode, open.stdout]).toEqual([8, expect.stringContaining('service-key-open')]);
      chmodSync(key, 0o600);
      writeFileSync(key, 'x');
      const bad = await other.run(['service', 'run', ...ANY, ...store, '--json']);
      expect([bad.exitCode, bad.stdout]).toEqual([2, expect.stringContaining('bad-service-key')]);
    } finally {
      await other[Symbol.asyncDispose]();
    }
  });
});

describe('a running server', () => {
  it('ends with exit code 0 when it is told to, and says so in its log', async () => {
    const running = await start('--metrics-listen', '0');
    const metrics = await fetch(running.ready.metricsUrl ?? '');
    expect(await metrics.text()).toContain('sgw_service_connections');
    const ended = once(running.child, 'exit');
    running.child.kill('SIGTERM');
    expect(await ended).toEqual([0, null]);
    const messages = running
      .stderr()
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { message: string }).message);
    expect(messages.slice(-3)).toEqual(['draining', 'drained', 'ended']);
  });

  it('says where an address is in use, and that a home can be a gateway too', async () => {
    const running = await start();
    const port = new URL(running.ready.url).port;
    const taken = await rig.run([
      'service',
      'run',
      '--listen',
      `127.0.0.1:${port}`,
      '--gateway-listen',
      '127.0.0.1:0',
      '--json',
    ]);
    expect([taken.exitCode, taken.stdout]).toEqual([5, expect.stringContaining('address-in-use')]);
    const activated = await rig.run(['activate', '--name', 'lab', '--json']);
    expect([activated.exitCode, activated.stderr]).toEqual([0, expect.any(String)]);
    expect(existsSync(path.join(rig.home, 'state.json'))).toBe(true);
  });

  it('runs over an encrypted store with its key file alone', async () => {
    const keyFile = path.join(rig.folder, 'store.key');
    writeFileSync(keyFile, `sgw-key-1:${Buffer.alloc(32, 1).toString('base64url')}\n`, { mode: 0o600 });
    const made = await rig.run(['activate', '--encrypt', '--key-file', keyFile, '--json']);
    if (made.exitCode !== 0) throw new Error(made.stdout + made.stderr);
    const locked = await rig.run(['service', 'run', ...ANY, '--json', '--no-input']);
    expect([locked.exitCode, locked.stdout]).toEqual([2, expect.stringContaining('key-missing')]);
    const running = await start('--key-file', keyFile);
    expect(await say(running, keyOf(running), 'account.list', {})).toMatchObject({ accounts: { length: 2 } });
  });

  requireTool('openssl').it(
    "shows its operator's certificate to customers, and the file's new one after SIGHUP",
    async () => {
      const [certificate, key] = [path.join(rig.folder, 'own.pem'), path.join(rig.folder, 'own.key')];
      const flags = ['--tls-cert', certificate, '--tls-key', key];
      for (const file of [certificate, key]) writeFileSync(file, 'x');
      const refused = await rig.run(['service', 'run', ...ANY, ...flags, '--json']);
      expect([refused.exitCode, refused.stdout]).toEqual([2, expect.stringContaining('bad-certificate')]);
      makeCertificate(certificate, key, 'first.example');
      const running = await start(...flags);
      expect(await shown(running)).toContain('CN=first.example');
      makeCertificate(certificate, key, 'second.example');
      process.kill(running.ready.pid, 'SIGHUP');
      await expect.poll(async () => shown(running)).toContain('CN=second.example');
    },
  );
});

function makeCertificate(certificate: string, key: string, name: string): void {
  const curve = [
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-days',
    '1',
    '-subj',
    `/CN=${name}`,
  ];
  execFileSync(toolPath('openssl') ?? 'openssl', ['req', '-x509', ...curve, '-keyout', key, '-out', certificate], {
    stdio: 'ignore',
  });
}

/** Whose certificate customers see. */
async function shown({ ready }: Running): Promise<string> {
  const { port } = new URL(ready.url);
  return await new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port: Number(port), rejectUnauthorized: false }, () => {
      resolve(socket.getPeerX509Certificate()?.subject ?? '');
      socket.destroy();
    });
    socket.on('error', reject);
  });
}

function childrenOf(pid: number): number[] {
  try {
    return readFileSync(`/proc/${String(pid)}/task/${String(pid)}/children`, 'latin1')
      .split(' ')
      .filter(Boolean)
      .map(Number);
  } catch {
    return [];
  }
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}
