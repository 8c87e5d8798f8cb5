/** Real NBD clients against a device in memory: over a unix socket, TCP, TLS with certificates, and TLS with pre-shared keys. */
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../src/core/blockdevice/index.ts';
import { MIB } from '../../src/core/kit/index.ts';
import { tlsSetup, type TlsMode, type TlsSetup } from '../../src/core/nbd/index.ts';
import { requireThat, toolPath } from '../requirements.ts';
import { Scene, type SceneOptions } from '../unit/nbd/scene.ts';
import { client, CLIENT_CHECKS, exitCode, inFolder, PYTHON, type NbdTarget } from './nbd-checks.ts';

const SIZE = 64 * MIB;

const missing = ['nbdinfo', 'nbdcopy', 'nbdsh', 'qemu-img', 'qemu-io', 'fio', 'psktool', 'certtool'].filter(
  (tool) => toolPath(tool) === undefined,
);
const clients = requireThat(missing.length === 0, `${missing.join(', ')} not installed`);

async function serve(options: SceneOptions): Promise<Scene> {
  return await Scene.open({ device: new MemoryDevice(SIZE), ...options });
}

async function tcpUri(scene: Scene, scheme: string, rest = ''): Promise<string> {
  const address = await scene.server.listen({ kind: 'tcp', host: '127.0.0.1', port: 0 });
  if (address.kind !== 'tcp') throw new Error('not TCP');
  const user = scheme === 'nbds' && rest.includes('psk') ? 'alice@' : '';
  return `${scheme}://${user}127.0.0.1:${String(address.port)}/mem${rest}`;
}

clients.describe('NBD clients', () => {
  describe('over a unix socket', () => {
    let scene: Scene;
    let target: NbdTarget;
    beforeAll(async () => {
      scene = await serve({});
      target = { uri: `nbd+unix:///mem?socket=${scene.socketPath}`, sizeBytes: SIZE };
    });
    afterAll(async () => {
      await scene[Symbol.asyncDispose]();
    });
    for (const check of CLIENT_CHECKS)
      it(
        check.name,
        async () => {
          await inFolder(async (folder) => check.run(target, folder));
          await scene.settled();
          expect(scene.faults).toEqual([]);
        },
        300_000,
      );

    it('nbdinfo lists, finds the default export, and is told that there is no other', async () => {
      const base = `?socket=${scene.socketPath}`;
      const list = JSON.parse(await client('nbdinfo', ['--json', '--list', `nbd+unix:///${base}`])) as {
        exports: { 'export-name': string; description: string }[];
      };
      expect(list.exports).toMatchObject([{ 'export-name': 'mem', description: 'in memory' }]);
      expect(Number(await client('nbdinfo', ['--size', `nbd+unix:///${base}`]))).toBe(SIZE);
      expect(await exitCode('nbdinfo', ['--size', `nbd+unix:///other${base}`])).toBe(1);
    });
  });

  it('over TCP, patterns are kept', async () => {
    await using scene = await serve({});
    const target = { uri: await tcpUri(scene, 'nbd'), sizeBytes: SIZE };
    for (const check of CLIENT_CHECKS.filter(({ tools }) => tools.includes('qemu-io')))
      await inFolder(async (folder) => check.run(target, folder));
  }, 120_000);

  it('a read-only export is read and not written', async () => {
    await using scene = await serve({ isReadOnly: true });
    const uri = `nbd+unix:///mem?socket=${scene.socketPath}`;
    expect(await exitCode('nbdinfo', ['--is', 'read-only', uri])).toBe(0);
    expect(await exitCode('qemu-io', ['-r', '-f', 'raw', uri, '-c', 'read -P 0 0 1M'])).toBe(0);
    const script = `
import errno, nbd
h = nbd.NBD(); h.connect_uri("${uri}"); h.set_strict_mode(0)
for call in (lambda: h.pwrite(b"x", 0), lambda: h.trim(512, 0), lambda: h.zero(512, 0)):
    try: call()
    except nbd.Error as e: assert e.errnum == errno.EPERM, e
    else: raise SystemExit("written")
h.flush()`;
    await client(PYTHON, ['-c', script]);
  });

  it('a context of the export is mapped beside base:allocation', async () => {
    const query = async (offset: number, length: number): Promise<{ length: number; flags: number }[]> =>
      Promise.resolve(
        offset < MIB
          ? [
              { length: MIB - offset, flags: 1 },
              { length: length - (MIB - offset), flags: 0 },
            ]
          : [{ length, flags: 0 }],
      );
    await using scene = await serve({ contexts: [{ name: 'qemu:dirty-bitmap:b1', query }] });
    const uri = `nbd+unix:///mem?socket=${scene.socketPath}`;
    const pieces = JSON.parse(await client('nbdinfo', ['--json', '--map=qemu:dirty-bitmap:b1', uri])) as unknown;
    expect(pieces).toMatchObject([
      { offset: 0, length: MIB, type: 1 },
      { offset: MIB, length: SIZE - MIB, type: 0 },
    ]);
    const options = [
      `driver=nbd,server.type=unix,server.path=${scene.socketPath},export=mem,x-dirty-bitmap=qemu:dirty-bitmap:b1`,
    ];
    const mapped = await client('qemu-img', ['map', '--output=json', '--image-opts', ...options]);
    // QEMU shows a dirty extent as one without data.
    expect(JSON.parse(mapped)).toMatchObject([
      { start: 0, length: MIB, data: false },
      { start: MIB, data: true },
    ]);
  });
});

clients.describe('NBD clients with TLS', () => {
  const withPsk = async (use: (keys: string, setup: TlsSetup) => Promise<void>): Promise<void> => {
    await inFolder(async (folder) => {
      const keys = path.join(folder, 'keys.psk');
      await client('psktool', ['-u', 'alice', '-p', keys]);
      await use(keys, tlsSetup({ psk: await readFile(keys, 'utf8') }));
    });
  };
  const served = async (setup: TlsSetup, mode: TlsMode = 'require'): Promise<Scene> =>
    await serve({ tls: { mode, setup } });

  it('pre-shared keys: the right one is let in, another one and none are not', async () => {
    await withPsk(async (keys, setup) => {
      await using scene = await served(setup);
      const uri = await tcpUri(scene, 'nbds', `?tls-psk-file=${keys}`);
      expect(await exitCode('nbdinfo', ['--is', 'tls', uri])).toBe(0);
      const python = [
        '-c',
        `import nbd; h=nbd.NBD(); h.set_uri_allow_local_file(True); h.connect_uri("${uri}"); h.pwrite(b"tls"*700000, 0); assert h.pread(2100000, 0) == b"tls"*700000; h.shutdown()`,
      ];
      await client(PYTHON, python);
      const unix = `nbds+unix://alice@/mem?socket=${scene.socketPath}&tls-psk-file=${keys}`;
      expect(await exitCode('nbdinfo', ['--is', 'tls', unix])).toBe(0);
      expect(await exitCode('nbdinfo', ['--size', unix.replace('nbds+', 'nbd+')])).toBe(1);
      expect(await exitCode('nbdinfo', ['--size', uri.replace('alice@', 'bob@')])).toBe(1);
      const wrong = `${keys}.wrong`;
      await client('psktool', ['-u', 'alice', '-p', wrong]);
      expect(await exitCode('nbdinfo', ['--size', uri.replace(keys, wrong)])).toBe(1);
      expect(await exitCode('nbdinfo', ['--size', await tcpUri(scene, 'nbd')])).toBe(1);
      await scene.settled();
    });
  });

  it('where TLS may be used, clients come with and without', async () => {
    await withPsk(async (keys, setup) => {
      await using scene = await served(setup, 'on');
      expect(await exitCode('nbdinfo', ['--size', await tcpUri(scene, 'nbd')])).toBe(0);
      expect(await exitCode('nbdinfo', ['--is', 'tls', await tcpUri(scene, 'nbds', `?tls-psk-file=${keys}`)])).toBe(0);
    });
  });

  it('certificates: the server is checked, and clients show theirs where they must', async () => {
    await inFolder(async (folder) => {
      await makeCertificates(folder);
      const file = async (name: string): Promise<Buffer> => await readFile(path.join(folder, name));
      const own = { certificate: await file('server-cert.pem'), key: await file('server-key.pem') };
      const ca = await file('ca-cert.pem');
      await using open = await served(tlsSetup(own));
      await using strict = await served(tlsSetup({ ...own, clientCa: ca }));
      const script = (uri: string, certificates: string): string[] => [
        '-c',
        `import nbd; h=nbd.NBD(); h.set_tls(nbd.TLS_REQUIRE); h.set_tls_certificates("${certificates}"); h.connect_uri("${uri}"); h.pwrite(b"x"*200000, 0); assert h.pread(200000, 0) == b"x"*200000; h.shutdown()`,
      ];
      for (const scene of [open, strict]) await client(PYTHON, script(await tcpUri(scene, 'nbds'), folder));
      await inFolder(async (bare) => {
        await writeFile(path.join(bare, 'ca-cert.pem'), ca);
        await client(PYTHON, script(await tcpUri(open, 'nbds'), bare));
        expect(await exitCode(PYTHON, script(await tcpUri(strict, 'nbds'), bare))).toBe(1);
        await makeCertificates(bare);
        await writeFile(path.join(bare, 'ca-cert.pem'), ca);
        expect(await exitCode(PYTHON, script(await tcpUri(strict, 'nbds'), bare))).toBe(1);
      });
      const qemu = `driver=nbd,server.type=inet,server.host=127.0.0.1,server.port=${new URL(await tcpUri(strict, 'nbds')).port},export=mem,tls-creds=t`;
      await client('qemu-img', [
        'info',
        '--object',
        `tls-creds-x509,id=t,dir=${folder},endpoint=client`,
        '--image-opts',
        qemu,
      ]);
      await open.settled();
      await strict.settled();
      expect(strict.exports.opened).toBeGreaterThan(0);
    });
  });
});

/** A CA, and what it signed for the server 127.0.0.1 and for a client, in libnbd's and QEMU's names. */
async function makeCertificates(folder: string): Promise<void> {
  const at = (name: string): string => path.join(folder, name);
  const make = async (args: readonly string[]): Promise<string> => await client('certtool', args);
  await writeFile(at('ca.info'), 'cn = test CA\nca\ncert_signing_key\n');
  await writeFile(
    at('server.info'),
    'cn = server\nip_address = 127.0.0.1\ntls_www_server\nencryption_key\nsigning_key\n',
  );
  await writeFile(at('client.info'), 'cn = a client\ntls_www_client\nencryption_key\nsigning_key\n');
  for (const name of ['ca', 'server', 'client'])
    await make(['--generate-privkey', '--key-type=ecdsa', '--outfile', at(`${name}-key.pem`)]);
  await make([
    '--generate-self-signed',
    '--load-privkey',
    at('ca-key.pem'),
    '--template',
    at('ca.info'),
    '--outfile',
    at('ca-cert.pem'),
  ]);
  for (const name of ['server', 'client'])
    await make([
      '--generate-certificate',
      '--load-ca-certificate',
      at('ca-cert.pem'),
      '--load-ca-privkey',
      at('ca-key.pem'),
      '--load-privkey',
      at(`${name}-key.pem`),
      '--template',
      at(`${name}.info`),
      '--outfile',
      at(`${name}-cert.pem`),
    ]);
}
