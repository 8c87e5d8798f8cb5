/** The end of a gateway's log, over the files that it is in, and what is added to it. */
import { open, readFile, stat, type FileHandle } from 'node:fs/promises';
import { SgwError, systemClock, toSgwError, type Clock } from '../../kit/index.ts';
import type { LogLineDocument } from '../documents.ts';
import { logFileOf, logFilesOf } from './log-file.ts';
import { parseLogLine } from './log-lines.ts';

const POLL_MS = 150;
const READ_BYTES = 1 << 16;

export interface ReadLogOptions {
  /** How many lines to begin with. */
  readonly lines: number;
  /** Whether to go on until the signal fires. */
  readonly follow: boolean;
}

/** The lines, oldest first. A file that moved on is read to its end. @throws notFound `no-log` when there is none and none is waited for */
export async function* readLog(
  home: string,
  { lines, follow }: ReadLogOptions,
  signal: AbortSignal,
  clock: Clock = systemClock,
): AsyncGenerator<LogLineDocument> {
  let file = await openIfThere(logFileOf(home));
  if (file === undefined && !follow) throw noLog(home);
  try {
    const reader = new LineReader(file);
    const present = await reader.read();
    for (const line of await lastLines(home, present, lines)) yield parseLogLine(line);
    while (follow && !signal.aborted) {
      for (const line of await reader.read()) yield parseLogLine(line);
      const next = await nextFile(home, file);
      if (next !== undefined) {
        for (const line of await reader.read()) yield parseLogLine(line);
        await file?.close();
        file = next;
        reader.turnTo(next);
      } else {
        await clock.sleep(POLL_MS, signal).catch(() => undefined);
      }
    }
  } finally {
    await file?.close();
  }
}

/** Whole lines as they come; a line that is not finished waits. */
class LineReader {
  #file: FileHandle | undefined;
  #position = 0;
  #rest = Buffer.alloc(0);

  constructor(file: FileHandle | undefined) {
    this.#file = file;
  }

  turnTo(file: FileHandle): void {
    this.#file = file;
    this.#position = 0;
    this.#rest = Buffer.alloc(0);
  }

  async read(): Promise<string[]> {
    const lines: string[] = [];
    const buffer = Buffer.alloc(READ_BYTES);
    for (;;) {
      const { bytesRead = 0 } = (await this.#file?.read(buffer, 0, READ_BYTES, this.#position)) ?? {};
      if (bytesRead === 0) return lines;
      this.#position += bytesRead;
      const text = Buffer.concat([this.#rest, buffer.subarray(0, bytesRead)]);
      const end = text.lastIndexOf(0x0a) + 1;
      this.#rest = text.subarray(end);
      if (end > 0) lines.push(...text.toString('utf8', 0, end - 1).split('\n'));
    }
  }
}

/** The last `count` lines: those of the present file, and what is missing of the older ones. */
async function lastLines(home: string, present: readonly string[], count: number): Promise<string[]> {
  let lines = present.slice(Math.max(0, present.length - count));
  for (const older of logFilesOf(home).slice(1)) {
    const missing = count - lines.length;
    if (missing <= 0) break;
    const text = await readFile(older, 'utf8').catch(() => '');
    lines = [
      ...text
        .split('\n')
        .filter((line) => line !== '')
        .slice(-missing),
      ...lines,
    ];
  }
  return lines;
}

/** The present file when it is not the one that is read. */
async function nextFile(home: string, file: FileHandle | undefined): Promise<FileHandle | undefined> {
  const path = logFileOf(home);
  if (file === undefined) return await openIfThere(path);
  const [now, read] = await Promise.all([stat(path).catch(() => undefined), file.stat()]);
  return now === undefined || now.ino === read.ino ? undefined : await openIfThere(path);
}

async function openIfThere(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw toSgwError(error);
  }
}

const noLog = (home: string): SgwError =>
  new SgwError('notFound', 'no-log', `there is no log at ${logFileOf(home)}`, {
    hint: 'A gateway in the background writes one: sgw gateway start. In the foreground it is on its standard error.',
    details: { path: logFileOf(home) },
  });
