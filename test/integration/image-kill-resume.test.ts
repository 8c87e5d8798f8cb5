import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { readFile, readdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { expect } from 'vitest';
import { createSparseOutput, loadSystemCalls } from '../../src/core/image/index.ts';
import { requireThat } from '../requirements.ts';
import { temporaryFolder } from '../unit/image/temporary-folder.ts';

const BLOCKS = 9;
const BLOCK_BYTES = 128 * 1024 + 4096;
const CHILD = join(import.meta.dirname, 'image-export-child.ts');
const at = temporaryFolder();
const locks = requireThat(
  (await loadSystemCalls()) !== undefined,
  'koffi does not load here, or the platform has no flock',
);

interface Exporter {
  readonly process: ChildProcessByStdio<Writable, Readable, null>;
  readonly lines: AsyncIterator<string>;
  readonly reader: Interface;
}

function startExporter(path: string, resumeKey: string): Exporter {
  const args = [CHILD, path, String(BLOCKS), String(BLOCK_BYTES), resumeKey];
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const reader = createInterface({ input: child.stdout });
  return { process: child, lines: reader[Symbol.asyncIterator](), reader };
}

const nextLine = async (exporter: Exporter): Promise<string> => {
  const line = await exporter.lines.next();
  return line.done === true ? 'ended' : line.value;
};

/** Lets the exporter go on until it has told checkpoint `last`, then kills it. */
async function runUntil(exporter: Exporter, last: number): Promise<string> {
  const resumed = await nextLine(exporter);
  for (let line = await nextLine(exporter); line !== `checkpoint ${String(last)}`; line = await nextLine(exporter)) {
    expect(line).toMatch(/^checkpoint/);
    exporter.process.stdin.write('\n');
  }
  const gone = once(exporter.process, 'exit');
  exporter.process.kill('SIGKILL');
  await gone;
  return resumed;
}

locks.it(
  'an export killed twice resumes at its last checkpoint and ends byte-identical and sparse',
  async () => {
    const path = at('out.img');
    expect(await runUntil(startExporter(path, 'snap-1'), 2)).toBe('resumed 0');
    await expect(stat(path)).rejects.toMatchObject({ code: 'ENOENT' });
    expect(await runUntil(startExporter(path, 'snap-1'), 5)).toBe(`resumed ${String(2 * BLOCK_BYTES)}`);

    const output = await createSparseOutput(path, { sizeBytes: BLOCKS * BLOCK_BYTES, resumeKey: 'snap-1' });
    expect(output.resumedFrom).toBe(5 * BLOCK_BYTES);
    for (let index = 5; index < BLOCKS; index++) {
      if (index % 3 !== 2) await output.write(Buffer.alloc(BLOCK_BYTES, index + 1), index * BLOCK_BYTES);
    }
    await output.finish();

    const expected = Array.from({ length: BLOCKS }, (_, index) =>
      Buffer.alloc(BLOCK_BYTES, index % 3 === 2 ? 0 : index + 1),
    );
    expect((await readFile(path)).equals(Buffer.concat(expected))).toBe(true);
    expect((await stat(path)).blocks * 512).toBeLessThan(7 * BLOCK_BYTES);
    expect(await readdir(dirname(path))).toEqual(['out.img']);
  },
  30_000,
);

locks.it(
  'an export that runs in another process keeps its target until it is killed',
  async () => {
    const exporter = startExporter(at('held.img'), 'snap-1');
    expect(await nextLine(exporter)).toBe('resumed 0');
    const rival = createSparseOutput(at('held.img'), { sizeBytes: 1, resumeKey: 'snap-2' });
    await expect(rival).rejects.toMatchObject({ kind: 'unavailable', code: 'target-in-use' });
    const gone = once(exporter.process, 'exit');
    exporter.process.kill('SIGKILL');
    await gone;
    const next = await createSparseOutput(at('held.img'), { sizeBytes: 1, resumeKey: 'snap-2' });
    expect(next.resumedFrom).toBe(0);
    await next.discard();
  },
  30_000,
);
