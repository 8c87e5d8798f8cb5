/**
 * The service that a command asks: which one, whom to believe there, and with which access key. Flags come before their
 * variables, then what `sgw configure --keep-service` has kept.
 *
 * Invariants: a secret is no flag's value, and in no message; a kept key goes to the service that it was kept for, and to no
 * other; nothing is sent before it is certain whom to.
 */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { SgwError } from '../../kit/index.ts';
import type { AccessKey, ServiceClient, ServicePlace } from '../../serviceclient/index.ts';
import type { GlobalFlags } from '../flags.ts';
import type { Prompts } from '../prompts.ts';
import { readServiceProfile, type ServiceProfile } from './profile.ts';

type Environment = Readonly<Record<string, string | undefined>>;
export type ServiceFlags = Pick<GlobalFlags, 'service' | 'service-ca' | 'service-fingerprint' | 'access-key-id'>;

export interface ServiceSurroundings {
  readonly env: Environment;
  readonly prompts: Pick<Prompts, 'isInteractive' | 'secret' | 'text'>;
  readonly signal: AbortSignal;
}

/** Whom to believe, as flags and variables say it; the certificate is read from its file. */
export interface NamedService {
  readonly url: string;
  readonly ca?: string;
  readonly fingerprint?: string;
}

/** Undefined when no flag and no variable names one. @throws as the system refuses the file */
export async function namedService(flags: ServiceFlags): Promise<NamedService | undefined> {
  if (flags.service === undefined) return undefined;
  const { 'service-ca': file, 'service-fingerprint': fingerprint } = flags;
  return {
    url: flags.service,
    ...(file === undefined ? {} : { ca: await readFile(path.resolve(file), 'utf8') }),
    ...(fingerprint === undefined ? {} : { fingerprint }),
  };
}

/** The service and the key, for a user. The caller closes it. @throws invalid `service-missing`, `access-key-missing`; what finding whom to believe throws */
export async function connectService(flags: ServiceFlags, surroundings: ServiceSurroundings): Promise<ServiceClient> {
  const { ServiceClient: Client } = await import('../../serviceclient/index.ts');
  const { place, accessKey } = await serviceAndKey(flags, surroundings);
  return new Client({ place, accessKey });
}

/** Where, and with which key. @throws as `connectService` */
export async function serviceAndKey(
  flags: ServiceFlags,
  { env, prompts, signal }: ServiceSurroundings,
): Promise<{ readonly place: ServicePlace; readonly accessKey: AccessKey }> {
  const { placeOfService, readServiceUrl } = await import('../../serviceclient/index.ts');
  const kept = readServiceProfile(env);
  const named = await namedService(flags);
  if (named === undefined) {
    if (kept === undefined) throw serviceMissing();
    const { url, ca } = kept;
    return { place: { url, ca }, accessKey: await keyOf(flags, env, prompts, kept) };
  }
  const isKept = readServiceUrl(named.url) === kept?.url;
  const accessKey = await keyOf(flags, env, prompts, isKept ? kept : undefined);
  const saysWhom = named.ca !== undefined || named.fingerprint !== undefined;
  if (isKept && !saysWhom) return { place: { url: kept.url, ca: kept.ca }, accessKey };
  return { place: await placeOfService(named.url, named, signal), accessKey };
}

/** A key is given whole: its id and its secret from one place, unless only the secret is missing and can be asked for. */
async function keyOf(
  flags: ServiceFlags,
  env: Environment,
  prompts: ServiceSurroundings['prompts'],
  kept: ServiceProfile | undefined,
): Promise<AccessKey> {
  const accessKeyId = flags['access-key-id'];
  const secret = nonEmpty(env['SGW_SECRET_ACCESS_KEY']);
  if (accessKeyId !== undefined) {
    if (secret !== undefined) return { accessKeyId, secretAccessKey: secret };
    if (kept?.accessKeyId === accessKeyId) return kept;
    if (!prompts.isInteractive) throw keyMissing(`the secret of access key ${accessKeyId} was not given`);
    const question = { message: `Secret of access key ${accessKeyId}:`, flag: 'SGW_SECRET_ACCESS_KEY' };
    return { accessKeyId, secretAccessKey: await prompts.secret(question) };
  }
  const ofAws = {
    accessKeyId: nonEmpty(env['AWS_ACCESS_KEY_ID']),
    secretAccessKey: nonEmpty(env['AWS_SECRET_ACCESS_KEY']),
  };
  if (kept !== undefined) return kept;
  if (ofAws.accessKeyId !== undefined && ofAws.secretAccessKey !== undefined)
    return { accessKeyId: ofAws.accessKeyId, secretAccessKey: ofAws.secretAccessKey };
  if (!prompts.isInteractive) throw keyMissing('no access key was given');
  const asked = await prompts.text({ message: 'Access key id:', flag: '--access-key-id ID' });
  const question = { message: 'Its secret:', flag: 'SGW_SECRET_ACCESS_KEY' };
  return { accessKeyId: asked.trim(), secretAccessKey: secret ?? (await prompts.secret(question)) };
}

const nonEmpty = (text: string | undefined): string | undefined => (text === '' ? undefined : text);

const serviceMissing = (): SgwError =>
  new SgwError('invalid', 'service-missing', 'no service was named', {
    hint: 'Give --service URL, set SGW_SERVICE, or keep one: sgw configure --keep-service --service URL',
  });

const keyMissing = (message: string): SgwError =>
  new SgwError('invalid', 'access-key-missing', message, {
    hint: 'Set SGW_ACCESS_KEY_ID (or give --access-key-id) and SGW_SECRET_ACCESS_KEY, or keep them: sgw configure --keep-service --service URL',
  });
