/**
 * The first tour of README.md: the commands of its `console` block, run with the built program on two small images.
 * Ids, times and durations differ from run to run, sizes of compressed data from library to library: both sides are
 * compared with these replaced.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, openSync, readFileSync, writeSync, closeSync, ftruncateSync, copyFileSync } from 'node:fs';
import path from 'node:path';
import { seededRandom } from '../../src/core/kit/index.ts';
import { ROOT } from './run-verb.ts';

const README = path.join(ROOT, 'README.md');
const MIB = 1 << 20;

export interface TourStep {
  readonly command: string;
  readonly output: string;
}

/** The steps in the first `console` block of the README. */
export function readTour(): TourStep[] {
  const block = /```console\n([\s\S]*?)```/.exec(readFileSync(README, 'utf8'))?.[1];
  if (block === undefined) throw new Error('README.md has no console block');
  return block
    .split(/^\$ /m)
    .filter((step) => step.trim() !== '')
    .map((step) => {
      const end = step.indexOf('\n');
      return { command: step.slice(0, end), output: step.slice(end + 1).trimEnd() };
    });
}

/** Two images in `folder`: 64 MiB with 8 MiB of data, and the same with three pages changed. */
function makeImages(folder: string): void {
  const golden = path.join(folder, 'golden.img');
  const file = openSync(golden, 'w');
  ftruncateSync(file, 64 * MIB);
  const random = seededRandom(17);
  for (let i = 0; i < 8; i++) writeSync(file, random.bytes(MIB), 0, MIB, i * 7 * MIB);
  closeSync(file);
  const patched = path.join(folder, 'patched.img');
  copyFileSync(golden, patched);
  const changed = openSync(patched, 'r+');
  for (const at of [4096, 14 * MIB, 60 * MIB]) writeSync(changed, Buffer.alloc(4096, 'patched'), 0, 4096, at);
  closeSync(changed);
}

/** Runs the tour in `folder`, as a user without a terminal sees it. */
export function runTour(folder: string, commands: readonly string[]): TourStep[] {
  mkdirSync(path.join(folder, 'config'), { recursive: true });
  makeImages(folder);
  const env = {
    PATH: process.env['PATH'] ?? '',
    HOME: folder,
    SGW_HOME: path.join(folder, 'home'),
    SGW_CONFIG_DIR: path.join(folder, 'config'),
    NO_COLOR: '1',
    SGW_PROGRESS: 'none',
  };
  return commands.map((command) => {
    const words = command.split(' ').slice(1);
    const ended = spawnSync(process.execPath, [path.join(ROOT, 'bin/run.js'), ...words], {
      cwd: folder,
      env,
      encoding: 'utf8',
    });
    if (ended.status !== 0) throw new Error(`${command}: exit ${String(ended.status)}\n${ended.stderr}`);
    return { command, output: ended.stdout.trimEnd().replaceAll(folder, '/data') };
  });
}

/** What of an output is the same in every run. */
export const stable = (text: string): string =>
  text
    .replaceAll(/\b(vol|snap|sgw|store)-[0-9a-f]{8,}/g, '$1-ID')
    .replaceAll(/\d{4}-\d\d-\d\d \d\d:\d\d/g, 'TIME')
    .replaceAll(/\b\d+(\.\d+)? (ms|s)\b/g, 'DURATION')
    .replaceAll(/^(stored: +).*$/gm, '$1SIZE')
    .replaceAll(/\b\d+(\.\d+)? [KMGT]iB free/g, 'SIZE free')
    .replaceAll(/^(free space: +).*$/gm, '$1SIZE')
    .replaceAll(/ +/g, ' ');
