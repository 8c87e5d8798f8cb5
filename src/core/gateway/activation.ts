/**
 * Activation in the embedded form: the home gets an identity of its own over an object store that it opens or begins.
 * Running it twice is refused, or with `ifNotExists` answered with what is there.
 */
import { mkdir, rmdir } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { createStore } from '../blockstore/index.ts';
import { gatewayNameOfHost, newGatewayId, SgwError } from '../kit/index.ts';
import type { ActivationDocument, CallContext, Input } from '../localapi/index.ts';
import { updateState, type GatewayState } from '../state/index.ts';
import type { GatewayParts } from './parts.ts';
import { openableStore, placeOf } from './store-place.ts';
import { tryStore } from './store-probe.ts';

/** The account of a home that is activated without naming one. */
const DEFAULT_ACCOUNT_ID = '000000000001';
const DEFAULT_REGION = 'local';

/**
 * Makes the home (mode 0700) and, where there is none, the store; then records the identity. Durable when it resolves.
 * @throws conflict `already-activated`; unsupported `store-unfit` when the store lacks what sgw needs; denied or exhausted
 * when it can not be written now. A home that was made for nothing is removed again.
 */
export async function activate(
  parts: GatewayParts,
  present: GatewayState | null,
  input: Input<'activate'>,
  call: CallContext,
): Promise<ActivationDocument> {
  const { home } = parts;
  if (present !== null) return alreadyActivated(home, present, input);
  const store = placeOf(home, input.store ?? join(home, 'store'));
  const made = await mkdir(home, { recursive: true, mode: 0o700 });
  let storeId: string;
  try {
    storeId = await beginStore(parts, openableStore(home, store), call);
  } catch (error) {
    if (made !== undefined) await removeEmpty(home, made);
    throw error;
  }
  const record: GatewayState = {
    gatewayId: newGatewayId(parts.random),
    name: input.name ?? gatewayNameOfHost(hostname()),
    mode: input.mode ?? 'cached',
    accountId: parts.accountId ?? DEFAULT_ACCOUNT_ID,
    region: input.region ?? DEFAULT_REGION,
    store,
    storeId,
    encryption: 'none',
    activatedAt: new Date(parts.clock.nowMs()).toISOString(),
    configurationVersion: 1,
    credential: null,
    activationKey: null,
    metadata: {},
  };
  const raced = await updateState(
    home,
    (state) => {
      const { gateway } = state;
      state.gateway ??= record;
      return gateway;
    },
    { lockTimeoutMs: call.lockTimeoutMs, signal: call.signal },
  );
  return raced === null ? activationDocument(home, record, true) : alreadyActivated(home, raced, input);
}

async function beginStore(parts: GatewayParts, store: string, call: CallContext): Promise<string> {
  const objects = await parts.openStore(store, { create: true });
  try {
    const { signal } = call;
    const blocks = { objects, clock: parts.clock, random: parts.random };
    const { check, failure } = await tryStore({ ...blocks, signal });
    // A full disk or a missing right says nothing of what the store is able to do.
    if (failure?.kind === 'exhausted' || failure?.kind === 'denied') throw failure;
    const lacking = check.probes.find((probe) => !probe.ok && probe.required);
    if (lacking !== undefined) {
      throw new SgwError(
        'unsupported',
        'store-unfit',
        `the store ${objects.description} can not be used: ${lacking.message}`,
        {
          hint: `\`sgw store check --store ${store}\` shows all it can and can't do.`,
          details: { store, probe: lacking.name },
        },
      );
    }
    return (await createStore(blocks, { signal })).storeId;
  } finally {
    await objects.close();
  }
}

/** Removes `home` and its parents up to `first`, as far as nothing is in them. */
async function removeEmpty(home: string, first: string): Promise<void> {
  for (let at = home; at.length >= first.length; at = dirname(at)) {
    try {
      await rmdir(at);
    } catch {
      return;
    }
  }
}

function alreadyActivated(home: string, present: GatewayState, input: Input<'activate'>): ActivationDocument {
  const agreement: readonly (readonly [string, boolean])[] = [
    ['name', input.name === undefined || input.name === present.name],
    ['mode', input.mode === undefined || input.mode === present.mode],
    [
      'store',
      input.store === undefined || placeOf(home, input.store) === placeOf(home, openableStore(home, present.store)),
    ],
    ['region', input.region === undefined || input.region === present.region],
  ];
  const differing = agreement.filter(([, agrees]) => !agrees).map(([parameter]) => parameter);
  if (input.ifNotExists === true && differing.length === 0) return activationDocument(home, present, false);
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

function activationDocument(home: string, record: GatewayState, created: boolean): ActivationDocument {
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
    encryption: 'none',
    activationKey: null,
    metadata: {},
    recoveryCode: null,
    created,
  };
}
