/**
 * The main job from end to end, with the real binary, in a temporary folder: `npm run quickstart`.
 *
 * A disk image of real files goes into the store, is snapshotted, changed, imported again, compared, cloned and
 * exported. Every export is compared with what went in, byte for byte, and in the space it takes; the diff is
 * compared with the pages that were changed. Exits non-zero at the first thing that is not as it should be.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { setImmediate } from 'node:timers/promises';
import {
  allocatedBytes,
  changeImage,
  firstDifference,
  makeImage,
  PAGE_BYTES,
  type Changes,
} from './quickstart-image.ts';
import { ROOT } from './root.ts';

/** File systems round what a file takes; an export may take this much more than its input. */
const SPARSE_SLACK_BYTES = 4 * 1024 ** 2;

interface Diff {
  readonly changedBytes: number;
  readonly zeroedBytes: number;
  readonly extents: readonly { readonly offset: number; readonly length: number; readonly state: string }[];
}

const folder = mkdtempSync(path.join(os.tmpdir(), 'sgw-quickstart-'));
const startedMs = performance.now();
const interrupt = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    interrupt.abort(new Error(`interrupted by ${signal}`));
  });
}
try {
  await tellStory();
  console.log(`\nAll exports are byte for byte what was imported. ${since(startedMs)} in all.`);
} catch (error) {
  console.error(`\nquickstart failed: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}

async function tellStory(): Promise<void> {
  const inFolder = (name: string): string => path.join(folder, name);
  await step('make a disk image', () => makeImage(inFolder('golden.img')));
  await step('keep a copy of it, to compare with', () => copy(inFolder('golden.img'), inFolder('before.img')));

  await sgw('activate', '--name', 'lab', '--mode', 'cached');
  await sgw('volume', 'import', 'golden.img', '--name', 'golden');
  await sgw('snapshot', 'create', 'golden', '--name', 'v1');

  const changes = await changed(inFolder('golden.img'));
  await sgw('volume', 'import', 'golden.img', '--into', 'golden');
  await sgw('snapshot', 'create', 'golden', '--name', 'v2');
  await sgw('snapshot', 'diff', 'v1', 'v2');
  const diff = JSON.parse(await run('snapshot', 'diff', 'v1', 'v2', '--json')) as Diff;
  await step('compare the diff with what was changed', () => checkDiff(diff, changes));

  await sgw('volume', 'create', 'build-17', '--from-snapshot', 'v1');
  await sgw('snapshot', 'create', 'build-17', '--name', 'fresh-17');
  for (const [snapshot, original] of [
    ['v1', 'before.img'],
    ['v2', 'golden.img'],
    ['fresh-17', 'before.img'],
  ] as const) {
    await sgw('snapshot', 'export', snapshot, `${snapshot}.img`);
    await step(`compare ${snapshot}.img with ${original}`, () =>
      compare(inFolder(`${snapshot}.img`), inFolder(original)),
    );
  }
  await sgw('status');
}

/** Runs a command, and shows it, what it printed and how long it took. */
async function sgw(...args: readonly string[]): Promise<void> {
  console.log(`\n$ sgw ${args.join(' ')}`);
  const beganMs = performance.now();
  show(await run(...args));
  console.log(`  (${since(beganMs)})`);
}

/**
 * Runs a command as a user in the folder would, and answers what it printed.
 * @throws Error with what it said, when it fails or is interrupted.
 */
async function run(...args: readonly string[]): Promise<string> {
  interrupt.signal.throwIfAborted();
  const child = spawn(process.execPath, [path.join(ROOT, 'bin', 'run.js'), ...args], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      SGW_HOME: path.join(folder, 'home'),
      SGW_CONFIG_DIR: path.join(folder, 'config'),
      SGW_NO_INPUT: '1',
      SGW_PROGRESS: 'none',
    },
  });
  const [stdout, stderr, status] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  interrupt.signal.throwIfAborted();
  if (status[0] !== 0) throw new Error(`exit code ${String(status[0])} of sgw ${args.join(' ')}\n${stdout}${stderr}`);
  return stdout;
}

async function step(what: string, work: () => string): Promise<void> {
  // Lets a signal arrive.
  await setImmediate();
  interrupt.signal.throwIfAborted();
  console.log(`\n# ${what}`);
  const beganMs = performance.now();
  show(work());
  console.log(`  (${since(beganMs)})`);
}

async function changed(image: string): Promise<Changes> {
  let changes: Changes | undefined;
  await step('change some blocks of the image', () => {
    changes = changeImage(image);
    return `${String(changes.changed.size)} pages changed, ${String(changes.zeroed.size)} cleared`;
  });
  if (changes === undefined || changes.changed.size === 0) throw new Error('no page of the image was changed');
  return changes;
}

/** The diff names exactly the pages that were changed and cleared. */
function checkDiff(diff: Diff, { changed: pages, zeroed }: Changes): string {
  const told = new Set<number>();
  for (const extent of diff.extents) {
    for (let at = extent.offset; at < extent.offset + extent.length; at += PAGE_BYTES) told.add(at / PAGE_BYTES);
  }
  const expected = new Set([...pages, ...zeroed]);
  const wrong = [...expected].filter((page) => !told.has(page)).concat([...told].filter((page) => !expected.has(page)));
  if (wrong.length > 0) throw new Error(`the diff is wrong about ${String(wrong.length)} pages`);
  if (diff.changedBytes !== pages.size * PAGE_BYTES) {
    throw new Error(
      `the diff tells of ${String(diff.changedBytes)} changed bytes, not ${String(pages.size * PAGE_BYTES)}`,
    );
  }
  if (diff.zeroedBytes !== zeroed.size * PAGE_BYTES) {
    throw new Error(
      `the diff tells of ${String(diff.zeroedBytes)} zeroed bytes, not ${String(zeroed.size * PAGE_BYTES)}`,
    );
  }
  return `the diff names exactly these ${String(expected.size)} pages`;
}

function compare(output: string, original: string): string {
  const difference = firstDifference(output, original);
  if (difference !== undefined) throw new Error(`${path.basename(output)} differs at byte ${String(difference)}`);
  const [takes, tookBefore] = [allocatedBytes(output), allocatedBytes(original)];
  if (takes > tookBefore + SPARSE_SLACK_BYTES) {
    throw new Error(
      `${path.basename(output)} takes ${mebibytes(takes)} on the disk, its original ${mebibytes(tookBefore)}`,
    );
  }
  return `identical; takes ${mebibytes(takes)} on the disk, its original ${mebibytes(tookBefore)}`;
}

function copy(from: string, to: string): string {
  const copied = spawnSync('cp', ['--sparse=always', from, to], { encoding: 'utf8' });
  if (copied.status !== 0) throw new Error(`cp failed: ${copied.stderr}`);
  return `${mebibytes(allocatedBytes(to))} of data`;
}

function show(printed: string): void {
  const lines = printed.trimEnd().split('\n');
  const shown = lines.length > 24 ? [...lines.slice(0, 20), `... ${String(lines.length - 20)} more lines`] : lines;
  for (const line of shown) console.log(`  ${line.replaceAll(folder, '.')}`);
}

function since(beganMs: number): string {
  return `${((performance.now() - beganMs) / 1000).toFixed(2)} s`;
}

function mebibytes(bytes: number): string {
  return `${(bytes / 1024 ** 2).toFixed(0)} MiB`;
}
