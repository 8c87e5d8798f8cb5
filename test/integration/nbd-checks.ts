/**
 * What real NBD clients do to an export, as functions over its URI: of a device in memory, or of a volume that is served. Each
 * leaves the export's contents changed, and fails with what the client said.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'vitest';
import { toolPath } from '../requirements.ts';
import { seededRandom } from '../../src/core/kit/index.ts';

export interface NbdTarget {
  readonly uri: string;
  readonly sizeBytes: number;
}

export interface ClientCheck {
  readonly name: string;
  /** The programs that it runs. */
  readonly tools: readonly string[];
  readonly run: (target: NbdTarget, folder: string) => Promise<void>;
}

const run = promisify(execFile);
const CLIENT_MS = 120_000;

/** What a client printed; fails when it ends with another code than 0, or takes too long. */
export async function client(tool: string, args: readonly string[], cwd?: string): Promise<string> {
  const { stdout } = await run(toolPath(tool) ?? tool, [...args], {
    timeout: CLIENT_MS,
    maxBuffer: 64 << 20,
    ...(cwd === undefined ? {} : { cwd }),
  });
  return stdout;
}

/** The exit code of a client. */
export async function exitCode(tool: string, args: readonly string[]): Promise<number> {
  return await client(tool, args).then(
    () => 0,
    (error: unknown) => (error as { code?: number }).code ?? -1,
  );
}

/** A folder that is gone afterwards. */
export async function inFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(path.join(tmpdir(), 'sgw-clients-'));
  try {
    await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** An image with data, holes and zeroes. */
async function makeImage(file: string, sizeBytes: number): Promise<void> {
  const handle = await open(file, 'w');
  try {
    await handle.truncate(sizeBytes);
    const noise = seededRandom(11).bytes(300_001);
    for (let at = 0, i = 0; at + noise.length < sizeBytes; at += 1_500_000 + 4096 * i, i++)
      await handle.write(noise, 0, noise.length, at);
    await handle.write(noise, 0, 4096, sizeBytes - 4096);
    await handle.write(Buffer.alloc(65_536), 0, 65_536, 100_000);
  } finally {
    await handle.close();
  }
}

async function hashOf(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

interface Info {
  readonly exports: readonly {
    readonly 'export-size': number;
    readonly contexts: readonly string[];
    readonly can_multi_conn: boolean;
    readonly can_fua: boolean;
    readonly block_size_preferred: number;
  }[];
}

interface MapPiece {
  readonly offset: number;
  readonly length: number;
  readonly type: number;
}

async function describes({ uri, sizeBytes }: NbdTarget): Promise<void> {
  const { exports } = JSON.parse(await client('nbdinfo', ['--json', uri])) as Info;
  expect(exports).toHaveLength(1);
  expect(exports[0]).toMatchObject({ 'export-size': sizeBytes, can_multi_conn: true, can_fua: true });
  expect(exports[0]?.contexts).toContain('base:allocation');
  expect(Number(await client('nbdinfo', ['--size', uri]))).toBe(sizeBytes);
  for (const ability of ['fua', 'trim', 'zero', 'fast-zero', 'df', 'multi-conn', 'cache', 'flush'])
    expect([ability, await exitCode('nbdinfo', ['--can', ability, uri])]).toEqual([ability, 0]);
  expect(await exitCode('nbdinfo', ['--is', 'read-only', uri])).toBe(2);
  const pieces = JSON.parse(await client('nbdinfo', ['--json', '--map', uri])) as MapPiece[];
  expect(pieces.reduce((sum, { length }) => sum + length, 0)).toBe(sizeBytes);
}

async function copiesBothWays({ uri, sizeBytes }: NbdTarget, folder: string): Promise<void> {
  const image = path.join(folder, 'x.img');
  const back = path.join(folder, 'back.img');
  await makeImage(image, sizeBytes);
  const expected = await hashOf(image);
  const ways: readonly (readonly [into: readonly string[], outOf: readonly string[]])[] = [
    [
      ['--flush', '-C', '8', '-R', '64'],
      ['--no-extents', '-C', '4'],
    ],
    [['--synchronous', '-C', '1', '--destination-is-zero'], ['--request-size=33554432']],
  ];
  for (const [into, outOf] of ways) {
    if (into.includes('--destination-is-zero'))
      await client('qemu-io', ['-f', 'raw', uri, '-c', `discard 0 ${String(sizeBytes)}`]);
    await client('nbdcopy', [...into, image, uri]);
    await rm(back, { force: true });
    await client('nbdcopy', [...outOf, uri, back]);
    expect(await hashOf(back)).toBe(expected);
  }
}

async function converts({ uri, sizeBytes }: NbdTarget, folder: string): Promise<void> {
  const image = path.join(folder, 'x.img');
  await makeImage(image, sizeBytes);
  await client('qemu-img', ['convert', '-n', '-W', '-m', '16', '-f', 'raw', '-O', 'raw', image, uri]);
  await client('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', image, uri]);
  const pieces = JSON.parse(await client('qemu-img', ['map', '-f', 'raw', '--output=json', uri])) as {
    readonly start: number;
    readonly length: number;
    readonly zero: boolean;
  }[];
  expect(pieces.reduce((sum, { length }) => sum + length, 0)).toBe(sizeBytes);
  expect(pieces.some(({ zero }) => zero)).toBe(true);
  expect(pieces.some(({ zero }) => !zero)).toBe(true);
  await client('qemu-img', ['bench', '-f', 'raw', '-w', '-c', '2000', '-d', '32', '--flush-interval=64', uri]);
}

/** Patterns whose reading back is checked; a mismatch ends qemu-io with 1. `image`: what names it on the command line. */
export async function keepsPatterns(image: readonly string[]): Promise<void> {
  const commands = [
    'write -P 0xaa 0 1M',
    'write -f -P 0xcd 512k 64k',
    'write -z -u 600k 100k',
    'write -z 800k 512',
    'discard 2M 4M',
    'write -P 0x11 2M 4k',
    'flush',
    'read -P 0xaa 0 512k',
    'read -P 0xcd 512k 64k',
    'read -P 0 600k 100k',
    'read -P 0 800k 512',
    'read -P 0xaa 801k 200k',
    'read -P 0x11 2M 4k',
    'read -P 0 2052k 1M',
  ];
  await client('qemu-io', [...image, ...commands.flatMap((command) => ['-c', command])]);
  expect(await exitCode('qemu-io', [...image, '-c', 'read -P 0x12 2M 4k'])).toBe(1);
}

async function verifies({ uri, sizeBytes }: NbdTarget, folder: string): Promise<void> {
  const size = String(Math.min(sizeBytes, 32 << 20));
  const common = ['--name=v', '--ioengine=nbd', `--uri=${uri}`, `--size=${size}`, '--iodepth=32', '--verify=crc32c'];
  const verify = ['--verify_fatal=1', '--do_verify=1', '--randseed=7'];
  await client('fio', [...common, '--rw=randwrite', '--bs=4k', ...verify], folder);
  await client('fio', [...common, '--rw=randwrite', '--bsrange=4k-256k', '--fsync=16', ...verify], folder);
  await client(
    'fio',
    [...common, '--rw=randtrimwrite', '--bs=16k', '--number_ios=500'].filter((one) => !one.startsWith('--verify')),
    folder,
  );
}

/** Requests that a well-behaved client would not send, with libnbd's own checks off. */
const STRANGE_REQUESTS = `
import errno, sys, nbd
uri, size, unit = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
h = nbd.NBD()
h.add_meta_context("base:allocation")
h.connect_uri(uri)
h.set_strict_mode(0)
assert h.get_size() == size, h.get_size()
assert h.get_structured_replies_negotiated()

def refused(what, numbers, call):
    try:
        call()
    except nbd.Error as e:
        assert e.errnum in numbers, (what, e)
        return
    raise SystemExit("accepted: " + what)

refused("read beyond", (errno.EINVAL,), lambda: h.pread(unit * 2, size - unit))
refused("read far beyond", (errno.EINVAL,), lambda: h.pread(unit, 2 ** 63 - unit))
refused("write beyond", (errno.ENOSPC,), lambda: h.pwrite(b"x" * unit * 2, size - unit))
refused("trim beyond", (errno.EINVAL,), lambda: h.trim(unit * 2, size - unit))
refused("zero beyond", (errno.ENOSPC,), lambda: h.zero(unit * 2, size - unit))
refused("cache beyond", (errno.EINVAL,), lambda: h.cache(unit * 2, size - unit))
refused("status beyond", (errno.EINVAL,), lambda: h.block_status(unit * 2, size - unit, lambda *a: 0))
refused("a read of nothing", (errno.EINVAL,), lambda: h.pread(0, 0))
refused("unknown flags", (errno.EINVAL,), lambda: h.pwrite(b"x" * unit, 0, 1 << 10))
h.pwrite(b"z" * unit * 3, unit)
assert h.pread(unit * 5, 0) == h.pread(unit, 0) + b"z" * unit * 3 + h.pread(unit, unit * 4)
assert h.pread(unit * 3, unit, nbd.CMD_FLAG_DF) == b"z" * unit * 3
if unit == 1:
    h.pwrite(b"odd", 4095)
    assert h.pread(5, 4094)[1:4] == b"odd"
    h.zero(1, 4096)
    assert h.pread(3, 4095) == b"o\\0d"
h.pwrite(b"f" * 4096, 8192, nbd.CMD_FLAG_FUA)
h.zero(4096, 8192, nbd.CMD_FLAG_NO_HOLE)
assert h.pread(4096, 8192) == bytes(4096)
h.pwrite(b"t" * 4096, 8192)
h.trim(4096, 8192)
assert h.pread(4096, 8192) == bytes(4096)
total = 0
def status(name, offset, entries, err):
    global total
    total = sum(entries[0::2])
    return 0
h.block_status(min(size, 2 ** 31), 0, status)
assert 0 < total <= size
got = []
h.block_status(65536, 0, lambda n, o, e, err: got.append(e) or 0, nbd.CMD_FLAG_REQ_ONE)
assert len(got) == 1 and len(got[0]) == 2, got
# Many at once on two connections; a flush of one covers the other's.
other = nbd.NBD()
other.connect_uri(uri)
bufs = [nbd.Buffer.from_bytearray(bytearray([i % 251] * 4096)) for i in range(500)]
cookies = [h.aio_pwrite(buf, i * 4096) for i, buf in enumerate(bufs)]
while cookies:
    cookies = [c for c in cookies if not h.aio_command_completed(c)]
    if cookies: h.poll(-1)
other.flush()
for i in range(500):
    assert other.pread(4096, i * 4096) == bytes([i % 251] * 4096), i
other.shutdown()
h.shutdown()
print("fine")
`;

async function refusesStrangeRequests({ uri, sizeBytes }: NbdTarget, folder: string): Promise<void> {
  const script = path.join(folder, 'strange.py');
  await writeFile(script, STRANGE_REQUESTS);
  expect(await client(PYTHON, [script, uri, String(sizeBytes), '1'])).toBe('fine\n');
}

/** Debian's, which has libnbd's module. */
export const PYTHON = '/usr/bin/python3';

export const CLIENT_CHECKS: readonly ClientCheck[] = [
  { name: 'nbdinfo tells what the export is', tools: ['nbdinfo'], run: describes },
  { name: 'nbdcopy goes in and out, in several ways', tools: ['nbdcopy', 'qemu-io'], run: copiesBothWays },
  { name: 'qemu-img converts, compares, maps and benches', tools: ['qemu-img'], run: converts },
  { name: 'qemu-io finds its patterns', tools: ['qemu-io'], run: async ({ uri }) => keepsPatterns(['-f', 'raw', uri]) },
  { name: 'fio verifies what it wrote', tools: ['fio'], run: verifies },
  { name: 'libnbd without its checks is refused cleanly', tools: ['nbdsh'], run: refusesStrangeRequests },
];
