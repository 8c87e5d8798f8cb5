/** The settings of an activated gateway: its name, its mode, and where its store is. */
import { Catalog } from '../blockstore/index.ts';
import { SgwError } from '../kit/index.ts';
import type { CallContext, ConfigureDocument, Input } from '../localapi/index.ts';
import { updateState, type GatewayState, type StateDocument } from '../state/index.ts';
import type { GatewayParts } from './parts.ts';
import { notActivated, type Session } from './session.ts';
import { openStoreOf, placeOf } from './store-place.ts';

/**
 * Reads the settings, or changes those that are given. Durable when it resolves.
 * @throws conflict `volumes-attached` for another mode while this gateway holds a volume; notFound `store-missing`,
 * conflict `other-store` when the directory does not hold the store of this gateway
 */
export async function configure(
  parts: GatewayParts,
  record: GatewayState,
  openSession: () => Promise<Session>,
  input: Input<'configure'>,
  call: CallContext,
): Promise<ConfigureDocument> {
  const changesMode = input.mode !== undefined && input.mode !== record.mode;
  const held = { gatewayId: record.gatewayId, what: 'the mode can not change' };
  const place = input.store === undefined ? undefined : placeOf(parts.home, input.store);
  if (place !== undefined) {
    const { clock, random } = parts;
    const objects = await openStoreOf(parts, record, place, call.signal);
    try {
      const shut = { objects, clock, random };
      if (changesMode) {
        const keys =
          record.encryption === 'none' ? {} : { keys: await (await import('./key-source.ts')).openKeys(shut, call) };
        await requireNothingHeld(new Catalog({ ...shut, ...keys }), held, call);
      }
    } finally {
      await objects.close();
    }
  } else if (changesMode) {
    await requireNothingHeld(new Catalog((await openSession()).blocks), held, call);
  }
  if (input.name === undefined && input.mode === undefined && place === undefined)
    return configurationDocument(record, []);
  return await updateState(parts.home, (state) => changeSettings(parts.home, state, { ...input, place }), {
    lockTimeoutMs: call.lockTimeoutMs,
    signal: call.signal,
  });
}

interface Change {
  readonly name?: string;
  readonly mode?: GatewayState['mode'];
  readonly place: string | undefined;
}

function changeSettings(home: string, { gateway }: StateDocument, input: Change): ConfigureDocument {
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
  if (changed.length > 0) gateway.configurationVersion += 1;
  return configurationDocument(gateway, changed);
}

const configurationDocument = (
  { name, mode, configurationVersion }: GatewayState,
  changed: string[],
): ConfigureDocument => ({
  name,
  mode,
  version: configurationVersion,
  changed,
});

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
