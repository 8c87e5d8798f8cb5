/** `configure`: settings of the gateway, and preferences of the user, which are no matter of the gateway. */
import path from 'node:path';
import { SgwError } from '../kit/index.ts';
import type { Input, Result } from '../localapi/index.ts';
import type { ConfigurationDocument } from './documents.ts';
import { writePreferences, type Preferences } from './preferences.ts';
import { readServiceProfile, writeServiceProfile, type ServiceProfile } from './service/profile.ts';
import type { Session } from './session.ts';

/**
 * Changes what is given and returns everything. Preferences are stored even if the home holds no
 * gateway; settings of the gateway then fail as the operation does.
 */
export async function configure(
  session: Session,
  settings: Input<'configure'>,
  preferences: Preferences,
  ofService?: 'keep' | 'forget',
): Promise<ConfigurationDocument> {
  const hasPreferences = Object.keys(preferences).length > 0;
  const gateway = await callConfigure(session, settings);
  const chosen = preferences.defaultHome === undefined ? {} : { defaultHome: path.resolve(preferences.defaultHome) };
  const before = session.preferences;
  const after = hasPreferences ? await writePreferences(session.env, { ...preferences, ...chosen }) : before;
  const { provider, requested } = gateway ?? {};
  const { changesService, service } = await configureService(session, ofService);
  const changed = (['defaultHome', 'output', 'color'] as const).filter((name) => before[name] !== after[name]);
  return {
    gateway:
      gateway === null
        ? null
        : {
            ...{ name: gateway.name, mode: gateway.mode, version: gateway.version, serving: gateway.serving },
            ...{ peerListen: gateway.peerListen, onTakeover: gateway.onTakeover },
            ...(gateway.remoteManagement === undefined ? {} : { remoteManagement: gateway.remoteManagement }),
            ...(provider === undefined ? {} : { provider }),
          },
    preferences: {
      defaultHome: after.defaultHome ?? null,
      output: after.output ?? 'text',
      color: after.color ?? 'auto',
      service: service === undefined ? null : { url: service.url, accessKeyId: service.accessKeyId },
    },
    changed: [...(gateway?.changed ?? []), ...changed, ...(changesService ? ['service'] : [])],
    applied: gateway?.applied ?? [],
    ...(requested === undefined ? {} : { requested }),
  };
}

/** Null when the home holds no gateway and nothing of it was to be changed. */
async function callConfigure(session: Session, settings: Input<'configure'>): Promise<Result<'configure'> | null> {
  try {
    return await session.call('configure', settings);
  } catch (error) {
    const isAbsent = error instanceof SgwError && error.code === 'not-activated';
    if (isAbsent && Object.keys(settings).length === 0) return null;
    throw error;
  }
}

/** Keeps the service and the key that are given, once the service has taken the key; or forgets what was kept. */
async function configureService(
  session: Session,
  wish: 'keep' | 'forget' | undefined,
): Promise<{ readonly changesService: boolean; readonly service: ServiceProfile | undefined }> {
  const { env } = session;
  if (wish === 'forget') {
    await writeServiceProfile(env, undefined);
    return { changesService: true, service: undefined };
  }
  const kept = readServiceProfile(env);
  if (wish === undefined) return { changesService: false, service: kept };
  const { serviceAndKey } = await import('./service/connection.ts');
  const { ServiceClient } = await import('../serviceclient/index.ts');
  const { place, accessKey } = await serviceAndKey(session.serviceFlags, session);
  await using client = new ServiceClient({ place, accessKey });
  await client.request('user.describe', {}, session);
  const service = { url: place.url, ca: place.ca, ...accessKey };
  await writeServiceProfile(env, service);
  return { changesService: JSON.stringify(kept) !== JSON.stringify(service), service };
}
