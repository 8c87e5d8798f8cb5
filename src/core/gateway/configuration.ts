/** The settings of an activated gateway: its name, its mode, and where its store is. */
import { access, constants, stat } from 'node:fs/promises';
import { Catalog } from '../blockstore/index.ts';
import { SgwError } from '../kit/index.ts';
import type { CallContext, ConfigureDocument, Input } from '../localapi/index.ts';
import type { ConfigurationChanges } from '../protocol/index.ts';
import { openState, updateState, type GatewayState, type ServingSettings, type StateDocument } from '../state/index.ts';
import type { GatewayParts } from './parts.ts';
import { isProvided, noteRequest, partWishes, providedState } from './provided.ts';
import { notActivated, type Session } from './session.ts';
import { changedSettings, requirePossible, servingConfiguration, withWishes } from './serving/configure.ts';
import { endHint } from './serving/refusals.ts';
import { openStoreOf, placeOf } from './store-place.ts';

/**
 * Reads the settings, or changes those that are given. What a provider owns is asked for instead: then it is the service
 * that keeps the request until somebody answers it. Durable when it resolves.
 * @throws conflict `volumes-attached` for another mode while this gateway holds a volume; notFound `store-missing`,
 * conflict `other-store` when the directory does not hold the store of this gateway; where a provider owns the configuration,
 * conflict `mode-fixed`, `nothing-requested`, and how the service is out of reach
 */
export async function configure(
  parts: GatewayParts,
  record: GatewayState,
  openSession: () => Promise<Session>,
  reload: () => Promise<readonly string[]>,
  input: Input<'configure'>,
  call: CallContext,
): Promise<ConfigureDocument> {
  if (!isProvided(record)) return await configureOwn(parts, record, openSession, reload, input, call);
  const { own, asked } = partWishes(record, input);
  // First: while the provider can't be asked, nothing is changed.
  const requested = asked === undefined ? [] : await askProvider(parts, await openSession(), asked, call);
  const document = await configureOwn(parts, record, openSession, reload, own, call);
  const { gateway } = await openState(parts.home);
  return { ...document, ...providedDocument(gateway ?? record), requested };
}

/** The names of what was asked for. */
async function askProvider(
  { home }: GatewayParts,
  { service }: Session,
  changes: ConfigurationChanges,
  call: CallContext,
): Promise<string[]> {
  await noteRequest(home, await service.ask('gateway.request-configuration', { changes }, call), call);
  const { serving = {}, ...names } = changes;
  return [...Object.keys(names), ...Object.keys(serving)];
}

function providedDocument(record: GatewayState): Pick<ConfigureDocument, 'provider' | 'version'> {
  const { version, request, answer } = providedState(record);
  const provider = { service: record.service?.url ?? '', version, request, answer };
  return { version: Math.max(1, version), provider };
}

async function configureOwn(
  parts: GatewayParts,
  record: GatewayState,
  openSession: () => Promise<Session>,
  reload: () => Promise<readonly string[]>,
  input: Input<'configure'>,
  call: CallContext,
): Promise<ConfigureDocument> {
  const changesMode = input.mode !== undefined && input.mode !== record.mode;
  if (changesMode) requireNothingAttached(record, 'the mode can not change');
  const held = { gatewayId: record.gatewayId, what: 'the mode can not change' };
  const place = input.store === undefined ? undefined : placeOf(parts.home, input.store);
  if (place !== undefined) {
    const { clock, random } = parts;
    const objects = await openStoreOf(parts, record, place, call.signal);
    try {
      const shut = { objects, clock, random };
      if (changesMode) {
        const keys =
          record.encryption === 'customer'
            ? { keys: await (await import('./key-source.ts')).openKeys(shut, call) }
            : {};
        await requireNothingHeld(new Catalog({ ...shut, ...keys }), held, call);
      }
    } finally {
      await objects.close();
    }
  } else if (changesMode) {
    await requireNothingHeld(new Catalog((await openSession()).blocks), held, call);
  }
  if (Object.keys(input).length === 0) return configurationDocument(record, [], []);
  const serving = withWishes(record.serving, input);
  await requirePossible(parts.home, record.serving, serving);
  const options = { lockTimeoutMs: call.lockTimeoutMs, signal: call.signal };
  const undoSecret = await keepDiscoverySecret(parts.home, input, options);
  await checkLocal(record, input);
  const change = { ...input, place, serving };
  let changed: string[];
  try {
    changed = await updateState(parts.home, (state) => changeSettings(parts.home, state, change), options);
  } catch (error) {
    await undoSecret?.();
    throw error;
  }
  try {
    const after = (await openState(parts.home)).gateway ?? record;
    const isServed = changed.some((name) => changedSettings(record.serving, serving).includes(name));
    const applied = isServed || undoSecret !== undefined ? await reload() : [];
    return configurationDocument(after, changed, applied);
  } catch (error) {
    // What can't be served is not kept.
    await undoSecret?.();
    await updateState(parts.home, ({ gateway }) => gateway && (gateway.serving = record.serving), options);
    await reload().catch(() => undefined);
    throw error;
  }
}

/** Keeps the secret of discovery sessions, or forgets it. Returns what undoes that; undefined when it stays as it is. */
async function keepDiscoverySecret(
  home: string,
  { iscsiDiscoveryUser, iscsiDiscoverySecret }: Input<'configure'>,
  call: Pick<CallContext, 'lockTimeoutMs' | 'signal'>,
): Promise<(() => Promise<void>) | undefined> {
  if (iscsiDiscoveryUser === undefined) return undefined;
  const { setDiscoverySecret } = await import('./serving/chap-file.ts');
  const before = await setDiscoverySecret(home, iscsiDiscoverySecret ?? null, call);
  return async () => {
    await setDiscoverySecret(home, before, call);
  };
}

interface Change {
  readonly name?: string;
  readonly mode?: GatewayState['mode'];
  readonly remoteManagement?: boolean;
  readonly peerListen?: string | null;
  readonly onTakeover?: string | null;
  readonly place: string | undefined;
  readonly serving: ServingSettings;
}

function changeSettings(home: string, { gateway }: StateDocument, input: Change): string[] {
  if (gateway === null) throw notActivated(home);
  const changed: string[] = [];
  if (input.name !== undefined && input.name !== gateway.name) {
    gateway.name = input.name;
    changed.push('name');
  }
  if (input.mode !== undefined && input.mode !== gateway.mode) {
    gateway.mode = input.mode;
    changed.push('mode');
  }
  if (input.place !== undefined && input.place !== gateway.store) {
    gateway.store = input.place;
    changed.push('store');
  }
  if (input.remoteManagement !== undefined && input.remoteManagement !== (gateway.remoteManagement ?? true)) {
    gateway.remoteManagement = input.remoteManagement;
    changed.push('remoteManagement');
  }
  for (const name of ['peerListen', 'onTakeover'] as const) {
    const value = input[name];
    if (value === undefined || value === (gateway[name] ?? null)) continue;
    if (value === null) Reflect.deleteProperty(gateway, name);
    else gateway[name] = value;
    changed.push(name);
  }
  changed.push(...changedSettings(gateway.serving, input.serving));
  gateway.serving = input.serving;
  if (changed.length > 0) gateway.configurationVersion += 1;
  return changed;
}

/** What only this machine can tell of settings. @throws unsupported `service-embedded`; invalid `bad-program` */
async function checkLocal(
  { service }: GatewayState,
  { remoteManagement, onTakeover }: Input<'configure'>,
): Promise<void> {
  if (remoteManagement !== undefined && service === undefined) throw nobodyElse();
  if (typeof onTakeover === 'string') await requireProgram(onTakeover);
}

async function requireProgram(path: string): Promise<void> {
  try {
    await access(path, constants.X_OK);
    if ((await stat(path)).isFile()) return;
  } catch {
    // Said below.
  }
  throw new SgwError('invalid', 'bad-program', `${path} is no program that this gateway may run`, {
    hint: 'Give the whole path of an executable file.',
    details: { path },
  });
}

const nobodyElse = (): SgwError =>
  new SgwError('unsupported', 'service-embedded', 'no service elsewhere manages this gateway', {
    hint: 'Remote management is of gateways that were activated over the network: sgw activate --service URL',
  });

const configurationDocument = (
  record: GatewayState,
  changed: readonly string[],
  applied: readonly string[],
): ConfigureDocument => ({
  name: record.name,
  mode: record.mode,
  version: record.configurationVersion,
  serving: servingConfiguration(record.serving),
  ...(record.service === undefined ? {} : { remoteManagement: record.remoteManagement ?? true }),
  peerListen: record.peerListen ?? null,
  onTakeover: record.onTakeover ?? null,
  changed: [...changed],
  applied: [...applied],
});

/** @throws conflict `volumes-attached` while anything is attached, also when no daemon serves it now */
export function requireNothingAttached({ attachments }: Pick<GatewayState, 'attachments'>, what: string): void {
  const [first] = attachments;
  if (first === undefined) return;
  throw new SgwError('conflict', 'volumes-attached', `${what} while "${first.exportName}" is attached`, {
    hint: first.grouped === true ? endHint(first) : `${endHint(first)} --start`,
    details: { exportName: first.exportName },
  });
}

/** @throws conflict `volumes-attached` while the gateway holds a volume of the store, of whatever account */
export async function requireNothingHeld(
  catalog: Catalog,
  { gatewayId, what }: { readonly gatewayId: string; readonly what: string },
  call: CallContext,
): Promise<void> {
  const { entries, damaged } = await catalog.surveyVolumes({ signal: call.signal });
  const volumes = [
    ...entries.map(({ volumeId, name }) => ({ volumeId, name })),
    ...damaged.map(({ id }) => ({ volumeId: id, name: id })),
  ];
  for (const volume of volumes) {
    const { holder } = await catalog.headOf(volume.volumeId, call.signal);
    if (holder?.gatewayId !== gatewayId) continue;
    throw new SgwError('conflict', 'volumes-attached', `${what} while volume "${volume.name}" is open`, {
      hint: 'Detach it, or finish its import, first.',
      details: { volumeId: volume.volumeId },
    });
  }
}
