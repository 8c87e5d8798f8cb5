/**
 * The secrets of CHAP: `chap.json` in the home, 0600 (docs/formats/state.md). They are not in `state.json`, not in the store, in no
 * document. The holder of a volume of a group gives those of its export to its replicas, which keep them until they serve it
 * themselves (`groups/kept-exports.ts`).
 *
 * The secrets of an export are here before the state has it, and go after the state has lost it: what a kill leaves over is
 * removed by the next start.
 */
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { SgwError, toSgwError } from '../../kit/index.ts';
import type { CallContext } from '../../localapi/index.ts';
import { acquireLock } from '../../state/index.ts';

/** Of one export. */
export interface ChapSecrets {
  /** What initiators prove themselves with. */
  readonly initiator: string;
  /** What the target proves itself with; null: it does not. */
  readonly target: string | null;
}

/** Of initiators that have their own, by their names. */
export type InitiatorSecrets = Readonly<Record<string, ChapSecrets>>;

/** All that is secret of one export; `own`: what everybody uses who has nothing of his own. */
export interface ExportSecrets {
  readonly own: ChapSecrets | null;
  readonly initiators: InitiatorSecrets;
}

interface ChapFile {
  /** What initiators prove themselves with that ask what targets there are; null: they need not. */
  readonly discovery: string | null;
  /** By name of the export. */
  readonly exports: ReadonlyMap<string, ChapSecrets>;
  /** By name of the export. */
  readonly initiators: ReadonlyMap<string, InitiatorSecrets>;
}

const NAME = 'chap.json';
const VERSION = 1;
const FILE_MODE = 0o600;
const NOTHING: ChapFile = { discovery: null, exports: new Map(), initiators: new Map() };

/** @throws corrupt `chap-damaged` */
async function readChapFile(home: string): Promise<ChapFile> {
  const path = join(home, NAME);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return NOTHING;
    throw toSgwError(error);
  }
  const file = parse(text);
  if (file !== undefined) return file;
  throw new SgwError('corrupt', 'chap-damaged', `${path} does not hold the secrets of CHAP`, {
    hint: 'Put a copy of it back, or remove it, then detach what uses CHAP and attach it again.',
    details: { path },
  });
}

export const NO_SECRETS: ExportSecrets = { own: null, initiators: {} };

/** The fields that are known; undefined unless each is as it has to be. */
export function exportSecretsOf(value: unknown): ExportSecrets | undefined {
  if (!isRecord(value)) return undefined;
  const { own, initiators } = value;
  if (!areSecrets(initiators) || !(own === null || areSecrets({ own }))) return undefined;
  const plain = ({ initiator, target }: ChapSecrets): ChapSecrets => ({ initiator, target });
  const rows = Object.entries(initiators as InitiatorSecrets).map(([name, row]) => [name, plain(row)] as const);
  return { own: own === null ? null : plain(own as ChapSecrets), initiators: Object.fromEntries(rows) };
}

const isSecret = (value: unknown): boolean => value === null || typeof value === 'string';

const areSecrets = (rows: unknown): boolean =>
  isRecord(rows) &&
  Object.values(rows).every((row) => isRecord(row) && typeof row['initiator'] === 'string' && isSecret(row['target']));

function parse(text: string): ChapFile | undefined {
  try {
    const { version, discovery, exports, initiators = {} } = JSON.parse(text) as Record<string, unknown>;
    if (version !== VERSION || !isRecord(exports) || !isRecord(initiators)) return undefined;
    if (!areSecrets(exports) || !isSecret(discovery) || !Object.values(initiators).every(areSecrets)) return undefined;
    return {
      discovery: discovery as string | null,
      exports: new Map(Object.entries(exports as Record<string, ChapSecrets>)),
      initiators: new Map(Object.entries(initiators as Record<string, InitiatorSecrets>)),
    };
  } catch {
    return undefined;
  }
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null;

/**
 * Changes the file under a lock of its own, and removes it when nothing is left. Durable when it resolves; nothing is written
 * when nothing changes.
 */
async function updateChapFile(
  home: string,
  change: (file: ChapFile) => ChapFile,
  { lockTimeoutMs, signal }: Pick<CallContext, 'lockTimeoutMs' | 'signal'>,
): Promise<ChapFile> {
  const options = { purpose: 'changing secrets of CHAP', timeoutMs: lockTimeoutMs, signal };
  const lock = await acquireLock({ home, name: 'chap', ...options });
  try {
    const before = await readChapFile(home);
    const after = change(before);
    if (textOf(after) !== textOf(before)) await write(join(home, NAME), after);
    return after;
  } finally {
    await lock.release();
  }
}

function textOf({ discovery, exports, initiators }: ChapFile): string {
  const own = initiators.size === 0 ? {} : { initiators: Object.fromEntries(initiators) };
  const file = { version: VERSION, discovery, exports: Object.fromEntries(exports), ...own };
  return `${JSON.stringify(file, undefined, 2)}\n`;
}

async function write(path: string, file: ChapFile): Promise<void> {
  try {
    if (file.discovery === null && file.exports.size === 0 && file.initiators.size === 0) {
      await rm(path, { force: true });
      return;
    }
    const { default: writeFileAtomic } = await import('write-file-atomic');
    await writeFileAtomic(path, textOf(file), { mode: FILE_MODE, fsync: true });
  } catch (error) {
    throw toSgwError(error);
  }
}

/** Forgets all secrets, also those that a kill left over, or a file that is damaged. */
export async function removeChapFile(home: string): Promise<void> {
  await write(join(home, NAME), NOTHING);
}

/** Sets or, with null, forgets what discovery sessions prove themselves with. Returns what it was. Durable when it resolves. */
export async function setDiscoverySecret(
  home: string,
  secret: string | null,
  call: Pick<CallContext, 'lockTimeoutMs' | 'signal'>,
): Promise<string | null> {
  let before: string | null = null;
  await updateChapFile(
    home,
    (file) => {
      before = file.discovery;
      return { ...file, discovery: secret };
    },
    call,
  );
  return before;
}

/** The secrets as a running gateway knows them. */
export class ChapBook {
  readonly #home: string;
  #file: ChapFile = NOTHING;
  #failure: SgwError | undefined;

  constructor(home: string) {
    this.#home = home;
  }

  /** Reads them again. A file that can't be read is told when a secret is asked for. */
  async read(): Promise<void> {
    try {
      this.#keep(await readChapFile(this.#home));
    } catch (error) {
      this.#failure = toSgwError(error);
    }
  }

  /** Forgets the secrets of all other exports. */
  async prune(names: readonly string[], call: Pick<CallContext, 'lockTimeoutMs' | 'signal'>): Promise<void> {
    const { exports, initiators } = this.#file;
    if ([...exports.keys(), ...initiators.keys()].every((name) => names.includes(name))) return;
    const kept = <T>(rows: ReadonlyMap<string, T>): ReadonlyMap<string, T> =>
      new Map([...rows].filter(([name]) => names.includes(name)));
    await this.#update((file) => ({ ...file, exports: kept(file.exports), initiators: kept(file.initiators) }), call);
  }

  /** @throws unavailable `chap-secret-missing`; corrupt `chap-damaged` */
  of(exportName: string): ChapSecrets {
    if (this.#failure !== undefined) throw this.#failure;
    const secrets = this.#file.exports.get(exportName);
    if (secrets !== undefined) return secrets;
    throw new SgwError(
      'unavailable',
      'chap-secret-missing',
      `the secrets of CHAP of export ${exportName} are missing`,
      {
        hint: `Detach it, and attach it again with --chap: sgw volume detach ${exportName}`,
        details: { exportName },
      },
    );
  }

  /** Null also when it is missing. */
  get discovery(): string | null {
    return this.#file.discovery;
  }

  /** What an export needs; undefined when some of it is missing, or the file is damaged. */
  allOf(
    exportName: string,
    iscsi: { readonly chapUser: string | null; readonly chapInitiators?: readonly string[] } | null,
  ): ExportSecrets | undefined {
    if (iscsi === null) return NO_SECRETS;
    const own = iscsi.chapUser === null ? null : this.#file.exports.get(exportName);
    const known = this.#file.initiators.get(exportName) ?? {};
    const rows = (iscsi.chapInitiators ?? []).map((name) => [name, known[name]] as const);
    if (this.#failure !== undefined || own === undefined || rows.some(([, row]) => row === undefined)) return undefined;
    return { own, initiators: Object.fromEntries(rows) as InitiatorSecrets };
  }

  /** Sets all that there is of an export. Durable when it resolves. */
  async setAll(
    exportName: string,
    { own, initiators }: ExportSecrets,
    call: Pick<CallContext, 'lockTimeoutMs' | 'signal'>,
  ): Promise<void> {
    const ofInitiators = Object.keys(initiators).length === 0 ? undefined : initiators;
    // A damaged file is no matter of what needs no secrets.
    const isKnown = this.#file.exports.has(exportName) || this.#file.initiators.has(exportName);
    if (own === null && ofInitiators === undefined && !isKnown) return;
    await this.#update(
      (file) => ({
        ...file,
        exports: changed(file.exports, exportName, own ?? undefined),
        initiators: changed(file.initiators, exportName, ofInitiators),
      }),
      call,
    );
  }

  /** Whether an export has just these, or none when they are undefined. */
  has(exportName: string, secrets: ChapSecrets | undefined): boolean {
    const known = this.#file.exports.get(exportName);
    return known?.initiator === secrets?.initiator && known?.target === secrets?.target;
  }

  /** Sets or, with undefined, forgets the secrets of an export. Durable when it resolves. */
  async set(
    exportName: string,
    secrets: ChapSecrets | undefined,
    call: Pick<CallContext, 'lockTimeoutMs' | 'signal'>,
  ): Promise<void> {
    // A damaged file is no matter of what needs no secrets.
    if (this.#failure === undefined ? this.has(exportName, secrets) : secrets === undefined) return;
    await this.#update((file) => ({ ...file, exports: changed(file.exports, exportName, secrets) }), call);
  }

  /** Of initiators that have their own. */
  initiatorsOf(exportName: string): InitiatorSecrets {
    if (this.#failure !== undefined) throw this.#failure;
    return this.#file.initiators.get(exportName) ?? {};
  }

  /** Sets or, with undefined, forgets the secrets of one initiator; without one, of all of an export. Durable when it resolves. */
  async setInitiator(
    exportName: string,
    initiator: string | undefined,
    secrets: ChapSecrets | undefined,
    call: Pick<CallContext, 'lockTimeoutMs' | 'signal'>,
  ): Promise<void> {
    if (secrets === undefined && !this.#file.initiators.has(exportName)) return;
    await this.#update((file) => {
      const { [initiator ?? '']: _, ...others } = file.initiators.get(exportName) ?? {};
      const left = initiator === undefined ? {} : others;
      const rows = secrets === undefined || initiator === undefined ? left : { ...left, [initiator]: secrets };
      const kept = Object.keys(rows).length === 0 ? undefined : rows;
      return { ...file, initiators: changed(file.initiators, exportName, kept) };
    }, call);
  }

  async #update(
    change: (file: ChapFile) => ChapFile,
    call: Pick<CallContext, 'lockTimeoutMs' | 'signal'>,
  ): Promise<void> {
    this.#keep(await updateChapFile(this.#home, change, call));
  }

  #keep(file: ChapFile): void {
    this.#file = file;
    this.#failure = undefined;
  }
}

function changed<T>(rows: ReadonlyMap<string, T>, name: string, value: T | undefined): ReadonlyMap<string, T> {
  const others = [...rows].filter(([other]) => other !== name);
  return new Map(value === undefined ? others : [...others, [name, value]]);
}
