/**
 * The state of a home: read by anyone at any time, changed under the home's lock for milliseconds.
 */
import { join, resolve } from 'node:path';
import { Low } from 'lowdb';
import { emptyState, type StateDocument } from './document.ts';
import { acquireLock } from './lock.ts';
import { StateFile } from './state-file.ts';

const STATE_FILE_NAME = 'state.json';

function database(home: string): Low<StateDocument> {
  return new Low(new StateFile(join(resolve(home), STATE_FILE_NAME)), emptyState());
}

/**
 * Reads the state without a lock: the newest complete version. A home that is missing or empty has the empty state.
 * @throws corrupt `state-damaged`, unsupported `state-newer`.
 */
export async function openState(home: string): Promise<StateDocument> {
  const low = database(home);
  await low.read();
  return low.data;
}

export interface UpdateStateOptions {
  /** How long to wait for the home's lock. Default 30 000. */
  readonly lockTimeoutMs?: number;
  readonly signal?: AbortSignal;
}

/**
 * Changes the state: `change` gets the newest version, alters it in place and must not wait for anything. Makes the home
 * when it is missing. The change is durable when this resolves; when `change` throws, or alters nothing, nothing is written.
 * @returns what `change` returned.
 * @throws unavailable `locked`, corrupt `state-damaged`, unsupported `state-newer`.
 */
export async function updateState<T>(
  home: string,
  change: (state: StateDocument) => T,
  options: UpdateStateOptions = {},
): Promise<T> {
  const { lockTimeoutMs, signal } = options;
  const lock = await acquireLock({
    home: resolve(home),
    name: 'home',
    purpose: 'changing the state',
    ...(lockTimeoutMs === undefined ? {} : { timeoutMs: lockTimeoutMs }),
    ...(signal === undefined ? {} : { signal }),
  });
  try {
    const low = database(home);
    await low.read();
    const before = JSON.stringify(low.data);
    const result = change(low.data);
    if (JSON.stringify(low.data) !== before) await low.write();
    return result;
  } finally {
    await lock.release();
  }
}
