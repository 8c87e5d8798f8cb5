/** TLS as clients that break it see it: pre-shared keys, so that no certificate is needed. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { describe, expect, it } from 'vitest';
import { tlsSetup } from '../../../src/core/nbd/index.ts';
import { requireTool, toolPath } from '../../requirements.ts';
import { Scene } from './scene.ts';
import { bytesOf, clientFlags, goData, option, optionReply, request, simpleReply } from './wire-builder.ts';

const KEY = Buffer.from('00112233445566778899aabbccddeeff', 'hex');
const setup = tlsSetup({ psk: `# who may come\nalice:${KEY.toString('hex')}\n` });
const STARTTLS = 5;

async function secured(socket: Socket, user: string, key: Buffer): Promise<TLSSocket> {
  const client = connectTls({
    socket,
    ciphers: 'PSK-AES256-GCM-SHA384',
    maxVersion: 'TLSv1.2',
    checkServerIdentity: () => undefined,
    pskCallback: () => ({ psk: key, identity: user }),
  });
  await new Promise<void>((resolve, reject) => {
    client.once('secureConnect', resolve);
    client.once('error', reject);
    client.once('close', () => {
      reject(new Error('closed'));
    });
  });
  client.on('error', () => undefined);
  return client;
}

/** The next bytes, as many as were asked for. */
async function read(socket: Socket, bytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  await new Promise<void>((resolve, reject) => {
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      length += chunk.length;
      if (length < bytes) return;
      socket.removeAllListeners('data');
      resolve();
    });
    socket.once('close', () => {
      reject(new Error(`closed after ${String(length)} of ${String(bytes)} bytes`));
    });
  });
  return Buffer.concat(chunks);
}

async function startTls(scene: Scene): Promise<Socket> {
  const client = await scene.connect();
  client.send(clientFlags(), option(STARTTLS));
  await client.expect(optionReply(STARTTLS, 1));
  client.socket.removeAllListeners('data');
  return client.socket;
}

describe('TLS of an NBD server', () => {
  it('a client with the key negotiates and transmits, and status tells who it is', async () => {
    await using scene = await Scene.open({ tls: { mode: 'require', setup } });
    const client = await secured(await startTls(scene), 'alice', KEY);
    client.write(option(7, goData('mem')));
    await read(client, 20 + 12 + 20 + 14 + 20);
    client.write(request({ type: 1, cookie: 1n, data: Buffer.from('secret') }));
    expect(await read(client, 16)).toEqual(simpleReply(0, 1n));
    expect(scene.server.connections()).toMatchObject([{ isTls: true, user: 'alice', exportName: 'mem' }]);
    client.destroy();
    await scene.settled();
  });

  it.each([
    ['an unknown user', 'bob', KEY],
    ['a wrong key', 'alice', Buffer.alloc(16, 1)],
  ])('%s is let go at once', async (_, user, key) => {
    await using scene = await Scene.open({ tls: { mode: 'require', setup } });
    await expect(secured(await startTls(scene), user, key)).rejects.toThrow();
    await scene.settled();
  });

  it('rubbish instead of a TLS handshake ends the connection at once', async () => {
    await using scene = await Scene.open({ tls: { mode: 'on', setup } });
    const socket = await startTls(scene);
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.resume().write(bytesOf(option(7, goData('mem')), Buffer.alloc(100, 7)));
    await closed;
    await scene.settled();
    expect(scene.faults).toHaveLength(1);
    expect(scene.exports.opened).toBe(0);
  }, 5000);

  it('rubbish between TLS records ends the connection, and releases its export', async () => {
    await using scene = await Scene.open({ tls: { mode: 'require', setup } });
    const socket = await startTls(scene);
    const client = await secured(socket, 'alice', KEY);
    client.write(option(7, goData('mem')));
    await read(client, 20 + 12 + 20 + 14 + 20);
    socket.write(Buffer.alloc(100, 7));
    await scene.settled();
    expect(scene.exports.released).toBe(1);
  });
});

/** A certificate that only its owner vouches for, and its key. */
function selfSigned(name = 'server'): { readonly certificate: Buffer; readonly key: Buffer } {
  const folder = mkdtempSync(join(tmpdir(), 'sgw-tls-'));
  try {
    const [key, certificate] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
    const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-subj', `/CN=${name}`];
    execFileSync(toolPath('openssl') ?? 'openssl', ['req', '-x509', ...curve, '-keyout', key, '-out', certificate], {
      stdio: 'ignore',
    });
    return { certificate: readFileSync(certificate), key: readFileSync(key) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

requireTool('openssl').describe('a server with a certificate and pre-shared keys, and no CA of clients', () => {
  const psk = `alice:${KEY.toString('hex')}\n`;

  it('lets nobody in without a key', async () => {
    await using scene = await Scene.open({ tls: { mode: 'require', setup: tlsSetup({ ...selfSigned(), psk }) } });
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
      const socket = await startTls(scene);
      const client = connectTls({ socket, maxVersion, rejectUnauthorized: false });
      const ended = new Promise((resolve) => {
        client.once('error', resolve);
        client.once('close', resolve);
      });
      client.once('secureConnect', () => client.write(option(7, goData('mem'))));
      await ended;
      client.destroy();
    }
    await scene.settled();
    expect(scene.exports.opened).toBe(0);
  });

  it('lets in who has one', async () => {
    await using scene = await Scene.open({ tls: { mode: 'require', setup: tlsSetup({ ...selfSigned(), psk }) } });
    const client = await secured(await startTls(scene), 'alice', KEY);
    client.write(option(7, goData('mem')));
    await read(client, 20 + 12 + 20 + 14 + 20);
    expect(scene.server.connections()).toMatchObject([{ isTls: true, user: 'alice', exportName: 'mem' }]);
    client.destroy();
    await scene.settled();
  });
});

requireTool('openssl').describe('a server with pre-shared keys and a CA of clients', () => {
  const trusted = selfSigned('client');
  const both = tlsSetup({ ...selfSigned(), clientCa: trusted.certificate, psk: `alice:${KEY.toString('hex')}\n` });

  /** Who the server says it is; undefined when it lets the client go. */
  async function userOf(options: ConnectionOptions): Promise<string | null | undefined> {
    await using scene = await Scene.open({ tls: { mode: 'require', setup: both } });
    const socket = await startTls(scene);
    const client = connectTls({ socket, rejectUnauthorized: false, checkServerIdentity: () => undefined, ...options });
    client.once('secureConnect', () => client.write(option(7, goData('mem'))));
    client.on('error', () => undefined);
    const user = await read(client, 20 + 12 + 20 + 14 + 20).then(
      () => scene.server.connections()[0]?.user,
      () => undefined,
    );
    client.destroy();
    await scene.settled();
    return user;
  }

  it('takes one of them', async () => {
    expect(await userOf({ cert: trusted.certificate, key: trusted.key })).toBe('client');
    const pskCallback = (): { psk: Buffer; identity: string } => ({ psk: KEY, identity: 'alice' });
    expect(await userOf({ ciphers: 'PSK', maxVersion: 'TLSv1.2', pskCallback })).toBe('alice');
  });

  it.each(['TLSv1.2', 'TLSv1.3'] as const)(
    'does not take the name of a user for a proof beside a certificate of nobody, by %s',
    async (version) => {
      const own = selfSigned('nobody');
      for (const identity of ['alice', 'bob']) {
        const pskCallback = (): { psk: Buffer; identity: string } => ({ psk: Buffer.alloc(16), identity });
        const ciphers = 'TLS_AES_256_GCM_SHA384:ECDHE-ECDSA-AES256-GCM-SHA384';
        const client = { cert: own.certificate, key: own.key, minVersion: version, maxVersion: version, ciphers };
        expect(await userOf({ ...client, pskCallback })).toBeUndefined();
      }
    },
  );
});
