/**
 * Which daemon holds a home. It holds the lock `gateway` for as long as it lives, and tells in `<home>/gateway.json` how it is
 * reached once it can be. The lock is the truth: a file of a process that does not hold it means nothing, so one that was
 * killed leaves nothing to clear away.
 */
import { readFile, rename, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { toSgwError } from '../kit/index.ts';
import { lockHolder } from './lock.ts';
import type { LockOwner } from './lock-owner.ts';

/** The lock that the daemon of a home holds. */
export const GATEWAY_LOCK = 'gateway';
const RECORD_NAME = 'gateway.json';
const RECORD_MODE = 0o600;

/** How a daemon is reached. */
export interface GatewayRecord {
  readonly pid: number;
  /** Of its lock. */
  readonly token: string;
  /** Path of the socket of its local API. */
  readonly socket: string;
  readonly version: string;
  /** Whether it was started in the background, so that it can be started so again. */
  readonly background: boolean;
  /** What it was started with, flags of `gateway run`; never a secret. */
  readonly args: readonly string[];
}

export interface RunningGateway {
  readonly owner: LockOwner;
  /** Undefined until it can be reached, and while it ends. */
  readonly record: GatewayRecord | undefined;
}

/** The living daemon of a home; undefined when there is none. Takes no lock. */
export async function runningGateway(home: string): Promise<RunningGateway | undefined> {
  const owner = await lockHolder(home, GATEWAY_LOCK);
  if (owner === undefined) return undefined;
  const record = await readRecord(home);
  return { owner, record: record?.token === owner.token ? record : undefined };
}

/** Tells how the daemon that holds the lock is reached. Readers see all of it or nothing. */
export async function announceGateway(home: string, record: GatewayRecord): Promise<void> {
  const path = join(home, RECORD_NAME);
  try {
    await writeFile(`${path}.new`, `${JSON.stringify(record, undefined, 2)}\n`, { mode: RECORD_MODE });
    await rename(`${path}.new`, path);
  } catch (error) {
    throw toSgwError(error);
  }
}

/** Takes that back. Called by the holder of the lock. */
export async function withdrawGateway(home: string): Promise<void> {
  await unlink(join(home, RECORD_NAME)).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw toSgwError(error);
  });
}

/** What the last daemon told, whether it lives or not; undefined when it ended in order. */
export async function lastGateway(home: string): Promise<GatewayRecord | undefined> {
  return await readRecord(home);
}

async function readRecord(home: string): Promise<GatewayRecord | undefined> {
  let value: unknown;
  try {
    value = JSON.parse(await readFile(join(home, RECORD_NAME), 'utf8'));
  } catch (error) {
    if (error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw toSgwError(error);
  }
  return isRecord(value) ? value : undefined;
}

function isRecord(value: unknown): value is GatewayRecord {
  if (typeof value !== 'object' || value === null) return false;
  const row = value as Record<keyof GatewayRecord, unknown>;
  return (
    Number.isSafeInteger(row.pid) &&
    [row.token, row.socket, row.version].every((field) => typeof field === 'string') &&
    typeof row.background === 'boolean' &&
    Array.isArray(row.args) &&
    row.args.every((word) => typeof word === 'string')
  );
}
