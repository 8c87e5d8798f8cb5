/**
 * The user's preferences: default home, output format, colours. `conf` writes them, in `SGW_CONFIG_DIR`
 * or the platform's place. Reading is one small file and does not load conf, which would cost every
 * command a tenth of a second; a file that does not exist means no preferences.
 */
import { readFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { SgwError } from '../kit/index.ts';

export const OUTPUTS = ['text', 'json'] as const;
export const COLORS = ['auto', 'never'] as const;

export interface Preferences {
  /** Absolute path. */
  readonly defaultHome?: string;
  readonly output?: (typeof OUTPUTS)[number];
  readonly color?: (typeof COLORS)[number];
}

type Environment = Readonly<Record<string, string | undefined>>;

/** The directory of the preferences file. */
export function preferencesFolder(env: Environment, platform: NodeJS.Platform = process.platform): string {
  const chosen = env['SGW_CONFIG_DIR'];
  if (chosen !== undefined && chosen !== '') return path.resolve(chosen);
  const userHome = userHomeOf(env);
  if (platform === 'darwin') return path.join(userHome, 'Library', 'Preferences', 'sgw');
  if (platform === 'win32')
    return path.join(env['APPDATA'] ?? path.join(userHome, 'AppData', 'Roaming'), 'sgw', 'Config');
  return path.join(absolute(env['XDG_CONFIG_HOME']) ?? path.join(userHome, '.config'), 'sgw');
}

/** The user's own directory: HOME, unless that is empty or relative; else that of the user's entry, else the root. */
export function userHomeOf(env: Environment): string {
  const home = absolute(env['HOME']);
  if (home !== undefined) return home;
  try {
    return os.userInfo().homedir;
  } catch {
    return path.parse(process.cwd()).root;
  }
}

/** A directory named by a variable, if it is absolute: the XDG specification ignores others. */
export const absolute = (text: string | undefined): string | undefined =>
  text !== undefined && path.isAbsolute(text) ? text : undefined;

/**
 * Reads the preferences; unknown fields and values are left out.
 * @throws invalid `bad-preferences` naming the file when it is not JSON.
 */
export function readPreferences(env: Environment): Preferences {
  const file = path.join(preferencesFolder(env), 'config.json');
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    return {};
  }
  try {
    return asPreferences(JSON.parse(text));
  } catch (error) {
    throw new SgwError('invalid', 'bad-preferences', `the preferences in ${file} are not JSON`, {
      hint: 'Correct the file, or remove it to start over.',
      details: { path: file },
      cause: error,
    });
  }
}

/** Stores the given preferences, keeps the others, and returns all. */
export async function writePreferences(env: Environment, changes: Preferences): Promise<Preferences> {
  readPreferences(env);
  const { default: Conf } = await import('conf');
  const conf = new Conf<Record<string, unknown>>({
    projectName: 'sgw',
    projectSuffix: '',
    cwd: preferencesFolder(env),
    configFileMode: 0o600,
  });
  for (const [name, value] of Object.entries(changes)) conf.set(name, value);
  return asPreferences(conf.store);
}

function asPreferences(document: unknown): Preferences {
  const fields = typeof document === 'object' && document !== null ? (document as Record<string, unknown>) : {};
  const home = fields['defaultHome'];
  const output = OUTPUTS.find((known) => known === fields['output']);
  const color = COLORS.find((known) => known === fields['color']);
  return {
    ...(typeof home === 'string' && path.isAbsolute(home) ? { defaultHome: home } : {}),
    ...(output === undefined ? {} : { output }),
    ...(color === undefined ? {} : { color }),
  };
}
