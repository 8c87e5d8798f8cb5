/**
 * The secrets that open an encrypted store: from a file, a variable or a question without echo. They are read
 * when the gateway asks for them, so that nobody is asked whose store is not encrypted, and at most once.
 *
 * Invariants: a secret is never an argument's value, and in no message, detail or document; what a flag names wins
 * over what variables name; two of the same standing are refused instead of guessed between.
 */
import { SgwError } from '../kit/index.ts';
import type { KeySecret, Secrets } from '../localapi/index.ts';
import { makeKeyFile, readSecretFile } from './secret-files.ts';
import type { Prompts } from './prompts.ts';
import type { Runtime } from './runtime.ts';

/** Files that hold secrets, as flags or variables name them. */
export interface SecretFiles {
  readonly keyFile?: string | undefined;
  readonly passphraseFile?: string | undefined;
  readonly recoveryCodeFile?: string | undefined;
}

/** Where else secrets come from, and where remarks about them go. */
export interface SecretSurroundings {
  readonly env: Runtime['env'];
  readonly prompts: Pick<Prompts, 'isInteractive' | 'secret'>;
  /** For a command that asks on no terminal: its errors advise none. */
  readonly neverAsks?: boolean;
  readonly say: (text: string) => Promise<void>;
}

type Kind = 'keyFile' | 'passphraseFile' | 'recoveryCodeFile' | 'passphrase';

/** One way to give a secret. */
interface Way {
  readonly kind: Kind;
  /** How a user gives it, for messages. */
  readonly flag: string | undefined;
  readonly variable: string;
}

const UNLOCK_WAYS: readonly Way[] = [
  { kind: 'keyFile', flag: '--key-file', variable: 'SGW_KEY_FILE' },
  { kind: 'passphraseFile', flag: '--passphrase-file', variable: 'SGW_PASSPHRASE_FILE' },
  { kind: 'recoveryCodeFile', flag: '--recovery-code-file', variable: 'SGW_RECOVERY_CODE_FILE' },
  { kind: 'passphrase', flag: undefined, variable: 'SGW_PASSPHRASE' },
];

const FIRST_WAYS = UNLOCK_WAYS.filter((way) => way.kind !== 'recoveryCodeFile');

const NEW_WAYS: readonly Way[] = [
  { kind: 'keyFile', flag: '--new-key-file', variable: 'SGW_STORE_REKEY_NEW_KEY_FILE' },
  { kind: 'passphraseFile', flag: '--new-passphrase-file', variable: 'SGW_STORE_REKEY_NEW_PASSPHRASE_FILE' },
  { kind: 'passphrase', flag: undefined, variable: 'SGW_NEW_PASSPHRASE' },
];

/** The fewest characters of a new passphrase. */
const PASSPHRASE_LENGTH_MIN = 8;

/**
 * The secrets of one run. `unlock` opens a store that is encrypted already.
 * @throws invalid `key-missing` when nothing was given and nobody can be asked; `one-of` when too much was given.
 */
export function unlockingSecrets(files: SecretFiles, surroundings: SecretSurroundings): Secrets {
  let asked: Promise<KeySecret> | undefined;
  const unlock = async (): Promise<KeySecret> =>
    (await readWay(chooseWay(UNLOCK_WAYS, files, surroundings.env), surroundings)) ??
    (await askPassphrase(surroundings));
  return { unlock: async () => (asked ??= unlock()) };
}

/** The secret that a store is begun with: that which opens it later. A key file that is not there is made. */
export function firstSecret(files: SecretFiles, surroundings: SecretSurroundings): () => Promise<KeySecret> {
  return once(async () => readNew(FIRST_WAYS, { ...files, recoveryCodeFile: undefined }, surroundings));
}

/**
 * The secret that is to open the store from now on. A key file that is not there is made. Undefined when none was given
 * and `mayKeep` says that the present one can stay.
 */
export function newSecret(
  files: SecretFiles,
  surroundings: SecretSurroundings,
  mayKeep: boolean,
): (() => Promise<KeySecret>) | undefined {
  if (mayKeep && chooseWay(NEW_WAYS, files, surroundings.env) === undefined) return undefined;
  return once(async () => readNew(NEW_WAYS, files, surroundings));
}

function once(read: () => Promise<KeySecret>): () => Promise<KeySecret> {
  let asked: Promise<KeySecret> | undefined;
  return async () => (asked ??= read());
}

/** Whether a flag names a secret: who gives one wants it to be needed. Variables may be meant for another store. */
export const namesSecret = (files: SecretFiles, env: Runtime['env']): boolean =>
  fromFlags(UNLOCK_WAYS, files, env).length > 0;

interface Choice {
  readonly way: Way;
  readonly value: string;
}

/** What was given, flags before variables; undefined when nothing was. */
function chooseWay(ways: readonly Way[], files: SecretFiles, env: Runtime['env']): Choice | undefined {
  const inVariables = ways.flatMap((way) => {
    const value = env[way.variable] ?? '';
    return value === '' ? [] : [{ way, value, name: way.variable }];
  });
  const inFlags = fromFlags(ways, files, env);
  const candidates = inFlags.length > 0 ? inFlags : inVariables;
  if (candidates.length > 1) {
    const names = candidates.map((candidate) => candidate.name).join(' and ');
    throw new SgwError('invalid', 'one-of', `more than one of ${names} was given`, {
      hint: `Give exactly one of ${names}.`,
    });
  }
  return candidates[0];
}

function fromFlags(
  ways: readonly Way[],
  files: SecretFiles,
  env: Runtime['env'],
): readonly (Choice & { readonly name: string })[] {
  return ways.flatMap((way) => {
    const value = way.kind === 'passphrase' ? undefined : files[way.kind];
    // A flag that its variable filled is no flag that was given.
    return value === undefined || value === env[way.variable] ? [] : [{ way, value, name: way.flag ?? '' }];
  });
}

async function readWay(choice: Choice | undefined, surroundings: SecretSurroundings): Promise<KeySecret | undefined> {
  if (choice === undefined) return undefined;
  const { way, value } = choice;
  if (way.kind === 'passphrase') return { passphrase: value };
  const text = await readSecretFile(value, surroundings.say);
  if (way.kind === 'keyFile') return { keyFile: text };
  return way.kind === 'recoveryCodeFile' ? { recoveryCode: text } : { passphrase: text };
}

async function readNew(ways: readonly Way[], files: SecretFiles, surroundings: SecretSurroundings): Promise<KeySecret> {
  const choice = chooseWay(ways, files, surroundings.env);
  if (choice?.way.kind === 'keyFile') await makeKeyFile(choice.value, surroundings.say);
  const secret = await readWay(choice, surroundings);
  if (secret === undefined) return await askNewPassphrase(ways, surroundings);
  if ('passphrase' in secret) checkNewPassphrase(secret.passphrase);
  return secret;
}

async function askPassphrase({ prompts, neverAsks = false }: SecretSurroundings): Promise<KeySecret> {
  if (neverAsks || !prompts.isInteractive) {
    const problem = 'the store is encrypted, and its passphrase or key file was not given';
    throw keyMissing(problem, UNLOCK_WAYS, !neverAsks);
  }
  return { passphrase: await prompts.secret({ message: 'Passphrase of the store:', flag: '--passphrase-file FILE' }) };
}

async function askNewPassphrase(ways: readonly Way[], { prompts, say }: SecretSurroundings): Promise<KeySecret> {
  if (!prompts.isInteractive) throw keyMissing('no new passphrase or key file was given', ways);
  const flag = ways.find((way) => way.kind === 'passphraseFile')?.flag ?? '';
  for (;;) {
    const passphrase = await prompts.secret({ message: 'New passphrase:', flag, check: checkNewPassphrase });
    // The slip may be in either of the two, so both are asked for again.
    const again = await prompts.secret({ message: 'The same again:', flag, check: () => undefined });
    if (again === passphrase) return { passphrase };
    await say('The passphrases differ. Type both again, or press Ctrl-C.');
  }
}

function keyMissing(message: string, ways: readonly Way[], couldAsk = true): SgwError {
  const flagOf = (kind: Kind): string => ways.find((way) => way.kind === kind)?.flag ?? '';
  const variable = ways.find((way) => way.kind === 'passphrase')?.variable ?? '';
  const files = `${flagOf('keyFile')} FILE or ${flagOf('passphraseFile')} FILE`;
  return new SgwError('invalid', 'key-missing', message, {
    hint: couldAsk
      ? `Give ${files}, set the variable ${variable}, or run the command on a terminal, where it asks.`
      : `Give ${files}, or set the variable ${variable}.`,
  });
}

/** @throws invalid `bad-passphrase` */
function checkNewPassphrase(passphrase: string): void {
  if ([...passphrase].length >= PASSPHRASE_LENGTH_MIN) return;
  const least = String(PASSPHRASE_LENGTH_MIN);
  throw badPassphrase(
    `the new passphrase is shorter than ${least} characters`,
    'Take several words that nobody guesses, or a key file.',
  );
}

const badPassphrase = (message: string, hint: string): SgwError =>
  new SgwError('invalid', 'bad-passphrase', message, { hint });
