/** A home that is a gateway already, held against what `activate` asks for; and what it answers of a gateway. */
import { assert, SgwError } from '../kit/index.ts';
import type { ActivationDocument, CallContext, Input } from '../localapi/index.ts';
import { newServingSettings, updateState, type GatewayState, type PendingActivation } from '../state/index.ts';
import type { GatewayParts } from './parts.ts';
import { openableStore, placeOf, wayRemarks } from './store-place.ts';

type Wanted = Pick<Input<'activate'>, 'name' | 'mode' | 'store' | 'region' | 'encrypt'> & {
  /** The URL of the service, as it is kept. */
  readonly service?: string | undefined;
};

/** What is asked for and is otherwise. */
function differingIn({ home, accountId }: GatewayParts, present: GatewayState, wanted: Wanted): string[] {
  const { name, mode, store, region } = wanted;
  const agreement: readonly (readonly [string, boolean])[] = [
    ['name', name === undefined || name === present.name],
    ['mode', mode === undefined || mode === present.mode],
    ['store', store === undefined || placeOf(home, store) === placeOf(home, openableStore(home, present.store))],
    ['account', accountId === undefined || accountId === present.accountId],
    ['encryption', wanted.encrypt !== true || present.encryption === 'customer'],
    ['region', region === undefined || region === present.region],
    ['service', wanted.service === undefined || wanted.service === present.service?.url],
  ];
  return agreement.filter(([, agrees]) => !agrees).map(([parameter]) => parameter);
}

/** @throws conflict `already-activated`, unless `ifNotExists` and the gateway is as it is wanted */
export function requirePresentAlike(
  parts: GatewayParts,
  present: GatewayState,
  wanted: Wanted & { readonly ifNotExists?: boolean | undefined },
): void {
  const { home } = parts;
  const differing = differingIn(parts, present, wanted);
  if (wanted.ifNotExists === true && differing.length === 0) return;
  const which = differing.length === 0 ? '' : ` with another ${differing.join(', ')}`;
  throw new SgwError(
    'conflict',
    'already-activated',
    `${home} is activated already, as ${present.name} (${present.gatewayId})${which}`,
    {
      hint: 'Use another --home for another gateway; `sgw configure` changes name and mode.',
      details: { home, gatewayId: present.gatewayId, differing },
    },
  );
}

/** @throws as `requirePresentAlike` */
export function presentDocument(
  parts: GatewayParts,
  present: GatewayState,
  input: Input<'activate'>,
): ActivationDocument {
  requirePresentAlike(parts, present, input);
  return activationDocument(parts.home, present, { created: false, recoveryCode: null });
}

export function activationDocument(
  home: string,
  record: GatewayState,
  made: Pick<ActivationDocument, 'created' | 'recoveryCode'>,
): ActivationDocument {
  const remarks = wayRemarks(record.store);
  return {
    gatewayId: record.gatewayId,
    name: record.name,
    mode: record.mode,
    accountId: record.accountId,
    home,
    store: openableStore(home, record.store),
    storeId: record.storeId,
    region: record.region,
    activatedAt: record.activatedAt,
    encryption: record.encryption,
    activationKey: record.activationKey,
    metadata: record.metadata,
    ...(record.service === undefined ? {} : { service: record.service.url }),
    ...made,
    ...(remarks.length === 0 ? {} : { remarks }),
  };
}

/**
 * Makes the gateway of an activation that was issued, over the store that it has; the activation is over then. Durable when it
 * resolves.
 */
export async function makeGateway(
  { home, clock }: Pick<GatewayParts, 'home' | 'clock'>,
  issued: PendingActivation,
  store: Pick<GatewayState, 'storeId' | 'encryption'>,
  call: Pick<CallContext, 'lockTimeoutMs' | 'signal'>,
): Promise<GatewayState> {
  const { gatewayId, name, mode, accountId, region, credential, activationKey, metadata, service } = issued;
  assert(gatewayId !== null && credential !== null, 'an issued activation has an id and a credential');
  const record: GatewayState = {
    ...{ gatewayId, name, mode, accountId, region, store: issued.store },
    ...(service === undefined ? {} : { service }),
    ...{ storeId: store.storeId, encryption: store.encryption },
    activatedAt: new Date(clock.nowMs()).toISOString(),
    configurationVersion: 1,
    ...{ credential, activationKey, metadata },
    serving: newServingSettings(),
    volumeSettings: {},
    attachments: [],
  };
  await updateState(
    home,
    (state) => {
      state.gateway = record;
      state.activation = null;
    },
    { lockTimeoutMs: call.lockTimeoutMs, signal: call.signal },
  );
  return record;
}
