/** Real iSCSI initiators against volumes that a gateway serves: the built program, its daemon, its log, cache and store. */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, expect } from 'vitest';
import { seededRandom } from '../../src/core/kit/index.ts';
import type { HomeRig } from '../cli/gateway-rig.ts';
import { requireThat } from '../requirements.ts';
import { HeldSession, iscsiGateway, iscsiUri, missingClients, qemuImage, type Attachment } from './iscsi-clients.ts';
import { client, exitCode, inFolder, keepsPatterns } from './nbd-checks.ts';
import { freePort } from '../support/free-port.ts';

const SIZE = 64 << 20;
const SECRET = 'kumquat-7f3a-1';
const HOST = 'iqn.1993-08.org.debian:01:abc';
const CHAP = ['--protocol', 'iscsi', '--chap', 'host-1'];
const TIMEOUT_MS = 120_000;

const missing = missingClients();
const { describe, it } = requireThat(missing.length === 0, `${missing.join(', ')} not installed`);

describe('iSCSI initiators of a gateway', () => {
  let rig: HomeRig;
  let portal: string;
  let secretFile: string;
  let serial = 0;
  let name = '';
  beforeAll(async () => {
    ({ rig, portal } = await iscsiGateway());
    secretFile = rig.file('secret.txt', SECRET);
  }, TIMEOUT_MS);
  afterAll(async () => {
    await rig[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    name = `disk-${String(++serial)}`;
    await rig.ok('volume', 'create', name, '--size', String(SIZE));
  });

  const attach = async (...words: string[]): Promise<Attachment> =>
    (await rig.okWith({ SGW_CHAP_SECRET: SECRET }, 'volume', 'attach', name, ...words)) as unknown as Attachment;
  const shown = async (): Promise<Attachment> =>
    ((await rig.ok('volume', 'show', name)) as { attachment: Attachment }).attachment;

  /** An image with data, holes and zeroes. */
  const makeImage = async (folder: string): Promise<string> => {
    const file = path.join(folder, 'x.img');
    const bytes = Buffer.alloc(SIZE);
    seededRandom(serial).bytes(3_000_000).copy(bytes, 1_234_944);
    seededRandom(serial)
      .bytes(4096)
      .copy(bytes, SIZE - 4096);
    await writeFile(file, bytes);
    return file;
  };

  it(
    'find a volume by its portal, and learn what it is',
    async () => {
      const attached = await attach('--protocol', 'iscsi');
      const { targetName } = attached.iscsi;
      expect(targetName).toBe(`iqn.2026-11.internal.sgw:${attached.volumeId}.${name}`);
      const found = (await client('iscsi-ls', [`iscsi://${portal}`])).split('\n');
      expect(found).toContain(`Target:${targetName} Portal:${portal},1`);
      expect(await client('iscsi-inq', [iscsiUri(attached)])).toMatch(/Vendor:SGW/);
      expect(await client('iscsi-inq', ['-e', '1', '-c', '128', iscsiUri(attached)])).toContain(attached.volumeId);
      const capacity = await client('iscsi-readcapacity16', [iscsiUri(attached)]);
      expect(capacity).toContain(`Total size:${String(SIZE)}`);
      expect(capacity).toContain('LBPME:1 LBPRZ:1');
    },
    TIMEOUT_MS,
  );

  it(
    'copy an image in and find it the same, with and without digests, and over NBD as well',
    async () => {
      const attached = await attach('--protocol', 'nbd,iscsi');
      const nbd = attached.uris.find((uri) => uri.startsWith('nbd')) ?? '';
      await inFolder(async (folder) => {
        const file = await makeImage(folder);
        for (const digest of ['none', 'crc32c'] as const) {
          const { image } = qemuImage(attached, { digest });
          await client('qemu-io', ['--image-opts', image, '-c', `discard 0 ${String(SIZE)}`]);
          const source = `driver=raw,file.driver=file,file.filename=${file}`;
          await client('qemu-img', [
            'convert',
            '-n',
            '-W',
            '-m',
            '16',
            '--image-opts',
            '--target-image-opts',
            source,
            image,
          ]);
          await client('qemu-img', ['compare', '--image-opts', source, image]);
          await client('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', file, nbd]);
        }
        await client('qemu-img', [
          'bench',
          '-f',
          'raw',
          '-w',
          '-c',
          '2000',
          '-d',
          '32',
          '--flush-interval=64',
          iscsiUri(attached),
        ]);
      });
    },
    TIMEOUT_MS,
  );

  it(
    'find their patterns: written, zeroed and given back',
    async () => {
      const { image } = qemuImage(await attach('--protocol', 'iscsi'), { digest: 'crc32c' });
      await keepsPatterns(['--image-opts', image]);
    },
    TIMEOUT_MS,
  );

  it(
    'see over one protocol what was written over the other, while both have it open',
    async () => {
      const attached = await attach('--protocol', 'nbd,iscsi');
      const nbd = attached.uris.find((uri) => uri.startsWith('nbd')) ?? '';
      await using held = await HeldSession.open(attached);
      const overNbd = async (command: string): Promise<string> => client('qemu-io', ['-f', 'raw', nbd, '-c', command]);
      for (let round = 1; round <= 5; round++) {
        const at = String(round * 64 * 1024);
        await held.run(`write -P ${String(round)} ${at} 64k`, 'wrote 65536/65536');
        expect(await overNbd(`read -P ${String(round)} ${at} 64k`)).toContain('read 65536/65536');
        await overNbd(`write -P ${String(100 + round)} ${at} 4k`);
        await held.run(`read -P ${String(100 + round)} ${at} 4k`, 'read 4096/4096');
      }
      expect(held.output).not.toContain('Pattern verification failed');
      const busy = ['bench', '-f', 'raw', '-w', '-c', '3000', '-d', '16'];
      await Promise.all([
        client('qemu-img', [...busy, '-o', '0', '-S', '8192', '--pattern=1', nbd]),
        client('qemu-img', [...busy, '-o', '4096', '-S', '8192', '--pattern=2', iscsiUri(attached)]),
      ]);
      const image = ['-f', 'raw', iscsiUri(attached)];
      for (const at of [0, 8192, 2999 * 8192])
        await client('qemu-io', [
          ...image,
          '-c',
          `read -P 1 ${String(at)} 4k`,
          '-c',
          `read -P 2 ${String(at + 4096)} 4k`,
        ]);
      await using _overNbd = await HeldSession.start(['-f', 'raw', nbd]);
      const { clients, connected } = await shown();
      expect(clients).toBe(2);
      expect(connected).toMatchObject([
        { protocol: 'nbd', remotes: ['unix'], initiator: null, user: null },
        { protocol: 'iscsi', remotes: [expect.stringMatching(/^127\.0\.0\.1:\d+$/)], user: null },
      ]);
      expect(connected[0]?.['requests']).toBeGreaterThan(0);
      expect(connected[1]?.['requests']).toBeGreaterThan(10);
    },
    TIMEOUT_MS,
  );

  it(
    'come in only with the secret of CHAP, and as an initiator that may',
    async () => {
      const attached = await attach(...CHAP, '--initiator', HOST);
      const login = { user: 'host-1', secretFile, initiator: HOST } as const;
      const read = async (how: Parameters<typeof qemuImage>[1]): Promise<number> => {
        const { objects, image } = qemuImage(attached, how);
        return await exitCode('qemu-io', [...objects, '--image-opts', image, '-c', 'read 0 4096']);
      };
      const wrong = rig.file('wrong.txt', 'persimmon-0b55');
      expect(await read({ ...login, digest: 'crc32c' })).toBe(0);
      expect(await read({ ...login, secretFile: wrong })).toBe(1);
      expect(await read({ ...login, user: 'host-2' })).toBe(1);
      expect(await read({ initiator: HOST })).toBe(1);
      expect(await read({ ...login, initiator: 'iqn.1993-08.org.debian:01:other' })).toBe(1);
      const list = async (initiator: string): Promise<string> =>
        client('iscsi-ls', ['-i', initiator, `iscsi://${portal}`]);
      expect(await list(HOST)).toContain(attached.iscsi.targetName);
      expect(await list(`${HOST}d`)).not.toContain(attached.iscsi.targetName);
      await using _held = await HeldSession.open(attached, login);
      expect((await shown()).connected).toMatchObject([{ initiator: HOST, user: 'host-1' }]);
      expect(JSON.stringify(rig.log())).not.toContain(SECRET);
    },
    TIMEOUT_MS,
  );

  it(
    'that ask for it get the proof of the target, too',
    async () => {
      const env = { SGW_CHAP_SECRET: SECRET, SGW_CHAP_TARGET_SECRET: 'persimmon-0b55' };
      const words = ['volume', 'attach', name, ...CHAP, '--chap-target', 'sgw'];
      const attached = (await rig.okWith(env, ...words)) as unknown as Attachment;
      const uri = (secret: string): string =>
        `${iscsiUri(attached).replace('@', `%${SECRET}@`)}?target_user=sgw&target_password=${secret}`;
      expect(await exitCode('iscsi-inq', [uri('persimmon-0b55')])).toBe(0);
      expect(await exitCode('iscsi-inq', [uri('persimmon-0b56')])).not.toBe(0);
    },
    TIMEOUT_MS,
  );

  it(
    'may be made to prove themselves before they learn what there is',
    async () => {
      const { targetName } = (await attach('--protocol', 'iscsi')).iscsi;
      await rig.okWith({ SGW_CHAP_SECRET: SECRET }, 'configure', '--iscsi-discovery-chap', 'finder');
      expect(await exitCode('iscsi-ls', [`iscsi://${portal}`])).not.toBe(0);
      expect(await client('iscsi-ls', [`iscsi://finder%${SECRET}@${portal}`])).toContain(targetName);
      await rig.ok('configure', '--iscsi-discovery-chap', 'default');
      expect(await client('iscsi-ls', [`iscsi://${portal}`])).toContain(targetName);
    },
    TIMEOUT_MS,
  );

  it(
    'stay while portals come and go, and are told of those there are',
    async () => {
      const attached = await attach('--protocol', 'iscsi');
      await using held = await HeldSession.open(attached);
      const second = `127.0.0.1:${String(await freePort())}`;
      await rig.ok('configure', '--iscsi-listen', `tcp:${portal}`, '--iscsi-listen', `tcp:${second}`);
      expect((await shown()).iscsi.portals).toEqual([portal, second]);
      const listed = await client('iscsi-ls', [`iscsi://${second}`]);
      for (const one of [portal, second]) expect(listed).toContain(`Portal:${one},1`);
      const uri = iscsiUri(attached);
      await client('qemu-io', ['-f', 'raw', uri.replace(portal, second), '-c', 'write -P 7 0 4k']);
      await held.run('read -P 7 0 4k', 'read 4096/4096');
      await rig.ok('configure', '--iscsi-portal', `gateway.example.org:3260`);
      expect(await client('iscsi-ls', [`iscsi://${second}`])).toContain('Portal:gateway.example.org:3260,1');
      await rig.ok('configure', '--iscsi-portal', 'default', '--iscsi-listen', `tcp:${portal}`);
      expect(await exitCode('iscsi-ls', [`iscsi://${second}`])).not.toBe(0);
      await held.run('read -P 7 0 4k', 'read 4096/4096');
      expect(held.output).not.toContain('Pattern verification failed');
      const taken = await rig.failure('configure', '--iscsi-listen', 'tcp:203.0.113.7:3260');
      expect(taken['exitCode']).not.toBe(0);
      await held.run('read -P 7 0 4k', 'read 4096/4096');
    },
    TIMEOUT_MS,
  );

  it(
    'keep a volume from being detached, and are let go by force',
    async () => {
      const attached = await attach('--protocol', 'iscsi');
      await using held = await HeldSession.open(attached);
      await held.run('write -P 9 0 4k', 'wrote 4096/4096');
      expect(await rig.failure('volume', 'detach', name)).toMatchObject({ code: 'clients-connected', exitCode: 4 });
      await held.run('read -P 9 0 4k', 'read 4096/4096');
      expect(await rig.ok('volume', 'detach', name, '--force')).toMatchObject({ detached: true, drained: true });
      expect(await exitCode('iscsi-inq', [iscsiUri(attached)])).not.toBe(0);
      await attach('--protocol', 'iscsi');
      await client('qemu-io', ['-f', 'raw', iscsiUri(attached), '-c', 'read -P 9 0 4k']);
    },
    TIMEOUT_MS,
  );

  it(
    'learn that a volume has grown',
    async () => {
      const attached = await attach('--protocol', 'iscsi');
      await using held = await HeldSession.open(attached);
      await rig.ok('volume', 'resize', name, '--size', String(2 * SIZE));
      expect(await client('iscsi-readcapacity16', [iscsiUri(attached)])).toContain(`Total size:${String(2 * SIZE)}`);
      await held.run('read 0 4096', 'read 4096/4096');
    },
    TIMEOUT_MS,
  );

  it(
    'read snapshots, and write their throw-away clones',
    async () => {
      const attached = await attach('--protocol', 'nbd,iscsi');
      await client('qemu-io', ['-f', 'raw', iscsiUri(attached), '-c', 'write -P 5 0 1M', '-c', 'flush']);
      const snapshot = `${name}-v1`;
      await rig.ok('snapshot', 'create', name, '--name', snapshot, '--wait');
      const plain = (await rig.ok('volume', 'attach', snapshot, '--protocol', 'iscsi')) as unknown as Attachment;
      const uri = iscsiUri(plain);
      await client('qemu-io', ['-r', '-f', 'raw', uri, '-c', 'read -P 5 0 1M']);
      expect(await exitCode('qemu-io', ['-f', 'raw', uri, '-c', 'write 0 4k'])).not.toBe(0);
      const words = ['volume', 'attach', snapshot, '--scratch', '--export-name', `${name}-w`, '--protocol', 'iscsi'];
      const clone = (await rig.ok(...words)) as unknown as Attachment;
      await client('qemu-io', ['-f', 'raw', iscsiUri(clone), '-c', 'write -P 6 0 4k', '-c', 'read -P 5 4k 4k']);
      await client('qemu-io', ['-r', '-f', 'raw', uri, '-c', 'read -P 5 0 4k']);
    },
    TIMEOUT_MS,
  );
});
