/**
 * The service that a user has said to keep, and the access key to it: `service.json` beside the preferences, by conf, 0600.
 * A file of its own, so that preferences can be shown around. Reading is one small file and does not load conf.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { SgwError } from '../../kit/index.ts';
import { preferencesFolder } from '../preferences.ts';

const NAME = 'service';

export interface ServiceProfile {
  /** As `readServiceUrl` gives it. */
  readonly url: string;
  /** PEM; null: whom the system trusts. */
  readonly ca: string | null;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

type Environment = Readonly<Record<string, string | undefined>>;

const fileOf = (env: Environment): string => path.join(preferencesFolder(env), `${NAME}.json`);

/** Undefined when none is kept. @throws invalid `bad-preferences` naming the file when it is not as it was written */
export function readServiceProfile(env: Environment): ServiceProfile | undefined {
  let text: string;
  try {
    text = readFileSync(fileOf(env), 'utf8');
  } catch {
    return undefined;
  }
  const profile = profileIn(text);
  if (profile !== undefined || text.trim() === '{}') return profile;
  throw new SgwError('invalid', 'bad-preferences', `${fileOf(env)} does not hold a service`, {
    hint: 'Forget it: sgw configure --forget-service. Then keep it anew: sgw configure --keep-service',
    details: { path: fileOf(env) },
  });
}

/** Replaces what was kept; undefined forgets it. */
export async function writeServiceProfile(env: Environment, profile: ServiceProfile | undefined): Promise<void> {
  const { default: Conf } = await import('conf');
  const conf = new Conf<Record<string, unknown>>({
    projectName: 'sgw',
    projectSuffix: '',
    cwd: preferencesFolder(env),
    configName: NAME,
    configFileMode: 0o600,
    // One that was damaged is replaced.
    clearInvalidConfig: true,
  });
  conf.clear();
  if (profile !== undefined) conf.set({ ...profile });
}

function profileIn(text: string): ServiceProfile | undefined {
  let document: unknown;
  try {
    document = JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
  const { url, ca, accessKeyId, secretAccessKey } = (document ?? {}) as Readonly<Record<string, unknown>>;
  const isWhole =
    typeof url === 'string' &&
    (ca === null || typeof ca === 'string') &&
    typeof accessKeyId === 'string' &&
    typeof secretAccessKey === 'string';
  return isWhole ? { url, ca, accessKeyId, secretAccessKey } : undefined;
}
