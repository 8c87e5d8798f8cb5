/** The NBD client, through the device that follows, against other people's servers and our own; and real clients above it. */
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../src/core/blockdevice/index.ts';
import { FollowingDevice, givenHolders, parsePlace, type FollowOptions } from '../../src/core/follow/index.ts';
import { MIB, seededRandom, systemClock, systemRandom } from '../../src/core/kit/index.ts';
import { tlsSetup } from '../../src/core/nbd/index.ts';
import type { ClientTls } from '../../src/core/nbd/client/index.ts';
import { until } from '../cli/gateway-rig.ts';
import { requireThat, toolPath } from '../requirements.ts';
import { TestAuthority } from '../support/certificates.ts';
import { Scene } from '../unit/nbd/scene.ts';
import { client, CLIENT_CHECKS, inFolder } from './nbd-checks.ts';

const SIZE = 64 * MIB;

async function follow(
  places: readonly string[],
  exportName: string,
  options: Partial<FollowOptions> & { readonly tls?: ClientTls } = {},
): Promise<FollowingDevice> {
  const { tls, ...given } = options;
  const addresses = places.map(parsePlace);
  return await FollowingDevice.open(
    {
      finder: givenHolders({ addresses, exportName, ...(tls === undefined ? {} : { tls }) }),
      isReadOnly: false,
      silenceMs: 10_000,
      clock: systemClock,
      random: systemRandom,
      onEvent: () => undefined,
      ...given,
    },
    AbortSignal.timeout(60_000),
  );
}

/** Many requests at once, of all kinds and lengths; then what is there is what a plain array has. */
async function exercise(device: FollowingDevice): Promise<void> {
  const random = seededRandom(4);
  const model = Buffer.alloc(SIZE);
  const below = (limit: number): number => Math.floor(random.float() * limit);
  for (let round = 0; round < 6; round++) {
    const requests: unknown[] = [];
    for (let i = 0; i < 60; i++) {
      const length = random.float() < 0.2 ? 1 + below(2 * MIB) : 1 + below(10_000);
      const offset = below(SIZE - length);
      const kind = random.float();
      if (kind < 0.7) {
        const data = Buffer.alloc(length, random.bytes(61));
        data.copy(model, offset);
        requests.push(device.write(offset, data, { fua: kind < 0.1 }));
      } else {
        model.fill(0, offset, offset + length);
        requests.push(
          kind < 0.85
            ? device.writeZeroes(offset, length, { mayTrim: kind < 0.8 })
            : device.trim(offset, length, { fua: kind < 0.9 }),
        );
      }
    }
    requests.push(device.flush(), device.prefetch(0, 65_536));
    await Promise.all(requests);
  }
  for (let at = 0; at < SIZE; at += 4 * MIB) {
    const target = Buffer.alloc(4 * MIB, 0xee);
    await device.read(at, target);
    expect(target.equals(model.subarray(at, at + target.length)), `at ${String(at)}`).toBe(true);
  }
  for (let at = 0; at < SIZE;) {
    const extents = await device.extents(at, Math.min(SIZE - at, 32 * MIB), 64);
    expect(extents.length).toBeGreaterThan(0);
    for (const { length, isZero } of extents) {
      if (isZero) expect(model.subarray(at, at + length).every((byte) => byte === 0)).toBe(true);
      at += length;
    }
  }
}

interface Peer {
  readonly name: string;
  readonly tool: string;
  readonly args: (socket: string, image: string) => readonly string[];
}

const PEERS: readonly Peer[] = [
  {
    name: 'qemu-nbd',
    tool: 'qemu-nbd',
    args: (socket, image) => ['-k', socket, '-x', 'disk', '-t', '-f', 'raw', '--discard=unmap', '-e', '4', image],
  },
  { name: "nbdkit's file plugin", tool: 'nbdkit', args: (socket, image) => ['-f', '-U', socket, 'file', image] },
];

async function running(peer: Peer, socket: string, image: string): Promise<ChildProcess> {
  const child = spawn(toolPath(peer.tool) ?? peer.tool, [...peer.args(socket, image)], { stdio: 'ignore' });
  await until(`${peer.name} listens`, () => existsSync(socket));
  return child;
}

async function killed(child: ChildProcess): Promise<void> {
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await gone;
}

describe("other people's servers", () => {
  for (const peer of PEERS)
    requireThat(toolPath(peer.tool) !== undefined, `${peer.tool} not installed`).it(
      `${peer.name} is followed, and over a kill`,
      async () => {
        await inFolder(async (folder) => {
          const [image, first, second] = ['disk.img', 'one', 'two'].map((name) => path.join(folder, name));
          await writeFile(image ?? '', '');
          await truncate(image ?? '', SIZE);
          let child = await running(peer, first ?? '', image ?? '');
          try {
            await using device = await follow([`unix:${first ?? ''}`, `unix:${second ?? ''}`], 'disk');
            await exercise(device);
            const target = Buffer.alloc(4096);
            await device.write(4096, Buffer.alloc(4096, 7));
            await killed(child);
            const reading = device.read(4096, target);
            child = await running(peer, second ?? '', image ?? '');
            await reading;
            expect(target).toEqual(Buffer.alloc(4096, 7));
          } finally {
            await killed(child);
          }
        });
      },
    );

  it('our own server is followed: over TCP, and with TLS by certificate and by key', async () => {
    const authority = await TestAuthority.create();
    const { certificate, privateKey } = await authority.server();
    const key = Buffer.from('00112233445566778899aabbccddeeff', 'hex');
    const setups: readonly { readonly scene: Parameters<typeof Scene.open>[0]; readonly tls?: ClientTls }[] = [
      { scene: {} },
      {
        scene: {
          tls: {
            mode: 'require',
            setup: tlsSetup({ certificate: Buffer.from(certificate), key: Buffer.from(privateKey) }),
          },
        },
        tls: { ca: Buffer.from(authority.ca) },
      },
      {
        scene: { tls: { mode: 'require', setup: tlsSetup({ psk: `alice:${key.toString('hex')}\n` }) } },
        tls: { psk: { user: 'alice', key } },
      },
    ];
    for (const { scene: options, tls } of setups) {
      await using scene = await Scene.open({ device: new MemoryDevice(SIZE), ...options });
      const address = await scene.server.listen({ kind: 'tcp', host: '127.0.0.1', port: 0 });
      const place = address.kind === 'tcp' ? `127.0.0.1:${String(address.port)}` : '';
      await using device = await follow([place], 'mem', tls === undefined ? {} : { tls });
      await exercise(device);
      expect(scene.server.connections()[0]?.isTls).toBe(tls !== undefined);
      if (tls === undefined) continue;
      const strange: ClientTls = tls.psk === undefined ? {} : { psk: { user: 'alice', key: Buffer.alloc(16, 1) } };
      await expect(follow([place], 'mem', { tls: strange, giveUpMs: 500 })).rejects.toMatchObject({
        code: 'no-holder',
      });
      await expect(follow([place], 'mem', { giveUpMs: 500 })).rejects.toThrow(/TLS/);
    }
  }, 240_000);
});

const missing = ['nbdinfo', 'nbdcopy', 'nbdsh', 'qemu-img', 'qemu-io', 'fio'].filter(
  (tool) => toolPath(tool) === undefined,
);

requireThat(missing.length === 0, `${missing.join(', ')} not installed`).describe('real clients above it', () => {
  for (const check of CLIENT_CHECKS)
    it(
      check.name,
      async () => {
        await using holder = await Scene.open({ device: new MemoryDevice(SIZE) });
        await using device = await follow([`unix:${holder.socketPath}`], 'mem');
        await using scene = await Scene.open({ device });
        const target = { uri: `nbd+unix:///mem?socket=${scene.socketPath}`, sizeBytes: SIZE };
        await inFolder(async (folder) => check.run(target, folder));
        await scene.settled();
        expect([scene.faults, holder.faults]).toEqual([[], []]);
      },
      300_000,
    );

  it('fio verifies what it wrote while the connection below is lost again and again', async () => {
    await using holder = await Scene.open({ device: new MemoryDevice(SIZE) });
    await using device = await follow([`unix:${holder.socketPath}`], 'mem');
    await using scene = await Scene.open({ device });
    const uri = `nbd+unix:///mem?socket=${scene.socketPath}`;
    let cuts = 0;
    const cutting = setInterval(() => {
      cuts += 1;
      void holder.server.closeExport('mem', { deadlineMs: 0 });
    }, 150);
    try {
      await inFolder(async (folder) => {
        const words = ['--name=v', '--ioengine=nbd', `--uri=${uri}`, '--size=24M', '--iodepth=32', '--rw=randwrite'];
        await client('fio', [...words, '--bs=4k', '--verify=crc32c', '--verify_fatal=1', '--do_verify=1'], folder);
      });
    } finally {
      clearInterval(cutting);
    }
    expect(cuts).toBeGreaterThan(2);
  }, 240_000);
});

it('a certificate of somebody else is refused, and so is a file of keys without one', async () => {
  const { readClientTls } = await import('../../src/core/daemon/connect/client-tls.ts');
  await inFolder(async (folder) => {
    const file = path.join(folder, 'keys');
    const none = { ca: null, certificate: null, key: null, psk: null, serverName: null };
    await writeFile(file, '# nothing\n');
    await expect(readClientTls({ ...none, psk: file })).rejects.toMatchObject({ code: 'bad-tls' });
    await expect(readClientTls({ ...none, ca: `${file}.gone` })).rejects.toMatchObject({ code: 'bad-tls' });
    await writeFile(file, 'alice:00ff\n');
    expect(await readClientTls({ ...none, psk: file })).toEqual({ psk: { user: 'alice', key: Buffer.from([0, 255]) } });
    expect(await readFile(file, 'utf8')).toContain('alice');
  });
});
