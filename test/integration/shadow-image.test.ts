/** Images that are not what they were: truncated, grown, removed, replaced, on a full or read-only file system. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  appendFileSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HomeRig } from '../cli/gateway-rig.ts';
import { NbdClient } from '../soak/served/nbd-client.ts';

const MIB = 1 << 20;

interface Export {
  readonly state: string;
  readonly reason: string | null;
  readonly hint: string | null;
  readonly sizeBytes: number;
  readonly dirtyBytes: number;
  readonly shadow: { readonly phase: string } | null;
}

let rig: HomeRig;
beforeEach(async () => {
  rig = new HomeRig();
  await rig.ok('activate', '--name', 'lab', '--mode', 'shadowing');
  await rig.ok('gateway', 'start');
}, 60_000);
afterEach(async () => {
  await rig[Symbol.asyncDispose]();
});

async function exportNow(): Promise<Export> {
  const { exports } = (await rig.ok('gateway', 'show')) as unknown as { exports: Export[] };
  const [only] = exports;
  if (only === undefined) throw new Error('nothing is attached');
  return only;
}

async function until(isSo: (now: Export) => boolean): Promise<Export> {
  const end = Date.now() + 30_000;
  for (;;) {
    const now = await exportNow();
    if (isSo(now)) return now;
    if (Date.now() > end) throw new Error(`waited in vain: ${JSON.stringify(now)}`);
    await delay(100);
  }
}

const isLevel = ({ state, shadow, dirtyBytes }: Export): boolean =>
  state === 'available' && shadow?.phase === 'steady' && dirtyBytes === 0;

async function connect(): Promise<NbdClient> {
  return await NbdClient.connect(path.join(rig.home, 'nbd.sock'), 'db');
}

/** What a snapshot taken now holds. */
async function stored(name: string): Promise<Buffer> {
  await rig.ok('snapshot', 'create', 'db', '--name', name, '--wait');
  const file = path.join(rig.folder, `${name}.img`);
  await rig.ok('snapshot', 'export', name, file);
  return readFileSync(file);
}

describe('an image that is shadowed', { timeout: 120_000 }, () => {
  it('is served in place at once, and is in the store a moment later; a detach lets others write to it', async () => {
    const image = rig.file('db.img', Buffer.alloc(8 * MIB, 3));
    expect(await rig.ok('volume', 'attach', 'db', '--image', image)).toMatchObject({ exportName: 'db', image });
    const client = await connect();
    await client.write(MIB + 100, Buffer.from('through the gateway'));
    client.close();
    await until(isLevel);
    // Long before there is a checkpoint.
    expect(await rig.ok('volume', 'show', 'db')).toMatchObject({ sizeBytes: 8 * MIB, mappedBytes: 8 * MIB });
    expect(await rig.ok('volume', 'list')).toMatchObject({ volumes: [{ name: 'db', mappedBytes: 8 * MIB }] });
    expect((await stored('s1')).equals(readFileSync(image))).toBe(true);
    expect(await rig.failure('volume', 'attach', 'other', '--image', image)).toMatchObject({
      exitCode: 4,
      code: 'image-in-use',
    });
    await rig.ok('volume', 'detach', 'db');
    const bytes = readFileSync(image);
    bytes.write('behind its back', 5 * MIB);
    writeFileSync(image, bytes);
    await rig.ok('volume', 'attach', 'db', '--image', image);
    await until(isLevel);
    expect((await stored('s2')).equals(bytes)).toBe(true);
  });

  it('C22 is served while the store is out of reach, also by a gateway that starts then', async () => {
    const image = rig.file('db.img', Buffer.alloc(8 * MIB, 3));
    await rig.ok('volume', 'attach', 'db', '--image', image);
    await until(isLevel);
    const store = path.join(rig.home, 'store');
    renameSync(store, `${store}-away`);
    process.kill(rig.daemonPid() ?? 0, 'SIGKILL');
    await rig.ok('gateway', 'start');
    expect((await until(({ state }) => state === 'pass-through')).reason).toMatch(/no object store/);
    const client = await connect();
    await client.write(3 * MIB, Buffer.alloc(4096, 8));
    await client.flush();
    client.close();
    renameSync(`${store}-away`, store);
    await until(isLevel);
    expect((await stored('s')).equals(readFileSync(image))).toBe(true);
  });

  it('grows with its file when it is attached again', async () => {
    const image = rig.file('db.img', Buffer.alloc(8 * MIB, 3));
    await rig.ok('volume', 'attach', 'db', '--image', image);
    await until(isLevel);
    appendFileSync(image, Buffer.alloc(4 * MIB, 9));
    expect((await until(({ reason }) => reason !== null)).reason).toMatch(/has grown/);
    await rig.ok('volume', 'detach', 'db');
    await rig.ok('volume', 'attach', 'db', '--image', image);
    expect((await until(isLevel)).sizeBytes).toBe(12 * MIB);
    expect((await stored('s')).equals(readFileSync(image))).toBe(true);
  });

  it('that was truncated is refused, and what the store has of it stays', async () => {
    const image = rig.file('db.img', Buffer.alloc(8 * MIB, 3));
    await rig.ok('volume', 'attach', 'db', '--image', image);
    await until(isLevel);
    const before = readFileSync(image);
    truncateSync(image, 4 * MIB);
    const failed = await until(({ reason }) => reason !== null);
    expect(failed.reason).toMatch(/truncated to 4194304 bytes/);
    const client = await connect();
    await expect(client.write(0, Buffer.alloc(4096))).rejects.toThrow();
    client.close();
    await rig.ok('volume', 'detach', 'db', '--force', '--no-drain');
    expect(await rig.failure('volume', 'attach', 'db', '--image', image)).toMatchObject({
      exitCode: 4,
      code: 'image-smaller',
    });
    expect(statSync(image).size).toBe(4 * MIB);
    expect((await stored('s')).equals(before)).toBe(true);
    await rig.ok('volume', 'resize', 'db', '--size', '4MiB', '--shrink', '--yes');
    await rig.ok('volume', 'attach', 'db', '--image', image);
    await until(isLevel);
    expect((await stored('t')).equals(readFileSync(image))).toBe(true);
  });

  it('that was lost is restored, and followed again by its volume', async () => {
    const image = rig.file('db.img', randomBytes(8 * MIB));
    await rig.ok('volume', 'attach', 'db', '--image', image);
    await until(isLevel);
    const before = await stored('s');
    await rig.ok('volume', 'detach', 'db');
    rmSync(image);
    await rig.ok('snapshot', 'restore', 's', '--image', image, '--attach', '--rate', '1KiB');
    await rig.ok('volume', 'detach', 's');
    expect(await rig.failure('volume', 'attach', 'db', '--image', image)).toMatchObject({
      exitCode: 4,
      code: 'restore-unfinished',
    });
    await rig.ok('snapshot', 'restore', 's', '--image', image, '--resume');
    expect(readFileSync(image).equals(before)).toBe(true);
    await rig.ok('volume', 'attach', 'db', '--image', image);
    expect(await rig.failure('snapshot', 'restore', 's', '--image', image, '--force', '--yes')).toMatchObject({
      exitCode: 4,
      code: 'image-in-use',
    });
    const now = await until(isLevel);
    expect(now.dirtyBytes).toBe(0);
    expect((await stored('t')).equals(before)).toBe(true);
  });

  it('that was removed or replaced is served until it is detached, and that is told', async () => {
    const image = rig.file('db.img', Buffer.alloc(8 * MIB, 3));
    await rig.ok('volume', 'attach', 'db', '--image', image);
    await until(isLevel);
    renameSync(image, `${image}.moved`);
    expect((await until(({ reason }) => reason !== null)).reason).toMatch(/moved or replaced/);
    rmSync(`${image}.moved`);
    expect((await until(({ reason }) => reason?.includes('removed') === true)).state).toBe('degraded');
    const client = await connect();
    await client.write(MIB, Buffer.from('still here'));
    await client.flush();
    expect((await client.read(MIB, 10)).toString()).toBe('still here');
    client.close();
    expect((await stored('s')).subarray(MIB, MIB + 10).toString()).toBe('still here');
    await rig.ok('volume', 'detach', 'db');
    expect(await rig.failure('volume', 'attach', 'db', '--image', image)).toMatchObject({ exitCode: 3 });
  });

  it('of another format, of odd size or for a gateway in another mode is refused with what to do', async () => {
    const qcow2 = rig.file(
      'db.qcow2',
      Buffer.concat([Buffer.from('QFI\xfb\0\0\0\x03', 'latin1'), Buffer.alloc(65_528)]),
    );
    expect(await rig.failure('volume', 'attach', 'db', '--image', qcow2)).toMatchObject({
      exitCode: 10,
      code: 'image-format',
      hint: expect.stringContaining('qemu-img convert') as string,
    });
    const odd = rig.file('odd.img', Buffer.alloc(1000));
    expect(await rig.failure('volume', 'attach', 'db', '--image', odd)).toMatchObject({ code: 'image-size' });
    expect(await rig.failure('volume', 'attach', 'db')).toMatchObject({ exitCode: 3 });
    expect(await rig.failure('volume', 'create', 'v', '--size', '1MiB')).toMatchObject({
      exitCode: 10,
      code: 'wrong-mode',
    });
    await rig.ok('configure', '--mode', 'cached');
    const image = rig.file('db.img', Buffer.alloc(MIB));
    expect(await rig.failure('volume', 'attach', 'db', '--image', image)).toMatchObject({
      exitCode: 10,
      code: 'wrong-mode',
    });
  });

  it.skipIf(process.getuid?.() !== 0)(
    'on a full file system tells the client, and follows what got there',
    async () => {
      const folder = path.join(rig.folder, 'small');
      mkdirSync(folder);
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'small', folder]);
      try {
        const image = path.join(folder, 'db.img');
        writeFileSync(image, Buffer.alloc(MIB, 1));
        truncateSync(image, 32 * MIB);
        await rig.ok('volume', 'attach', 'db', '--image', image);
        const client = await connect();
        const failures: unknown[] = [];
        for (let at = 0; at < 32; at++)
          await client.write(at * MIB, Buffer.alloc(MIB, at + 1)).catch((error: unknown) => failures.push(error));
        expect(failures.length).toBeGreaterThan(10);
        expect(failures.map(String).every((text) => text.includes('error 28'))).toBe(true);
        // What there is goes on.
        await client.write(0, Buffer.alloc(MIB, 77));
        client.close();
        await until(isLevel);
        expect((await stored('s')).equals(readFileSync(image))).toBe(true);
        await rig.ok('volume', 'detach', 'db');
      } finally {
        execFileSync('umount', ['-l', folder]);
      }
    },
  );

  it.skipIf(process.getuid?.() !== 0)('on a read-only file system is refused', async () => {
    const folder = path.join(rig.folder, 'readonly');
    mkdirSync(folder);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'small', folder]);
    try {
      const image = path.join(folder, 'db.img');
      writeFileSync(image, Buffer.alloc(MIB, 1));
      execFileSync('mount', ['-o', 'remount,ro', folder]);
      expect(await rig.failure('volume', 'attach', 'db', '--image', image)).toMatchObject({
        exitCode: 8,
        message: expect.stringContaining('read-only') as string,
      });
      expect(await rig.ok('volume', 'list')).toMatchObject({ volumes: [] });
    } finally {
      execFileSync('umount', ['-l', folder]);
    }
  });
});
