/** Taking the identity from a home. The store, and all that is in it, stays. */
import { Catalog } from '../blockstore/index.ts';
import { SgwError } from '../kit/index.ts';
import type { CallContext, DeactivationDocument } from '../localapi/index.ts';
import { updateState, type GatewayState } from '../state/index.ts';
import { removeCertificateFile } from './certificate-file.ts';
import { requireNothingAttached, requireNothingHeld } from './configuration.ts';
import { whileActivating } from './handshake.ts';
import { readPrivateKey, removePrivateKey } from './key-file.ts';
import type { GatewayParts } from './parts.ts';
import type { Session } from './session.ts';
import { openableStore } from './store-place.ts';

/**
 * Tells the service, then forgets the identity, then destroys the private key: stopped at any point, the same command goes
 * on. Durable when it resolves.
 * @throws conflict `volumes-attached` while this gateway holds a volume; unavailable and the like when the store, or the
 * service, is out of reach
 */
export async function deactivate(
  parts: GatewayParts,
  record: GatewayState,
  openSession: () => Promise<Session>,
  call: CallContext,
): Promise<DeactivationDocument> {
  const { home, clock } = parts;
  requireNothingAttached(record, 'the gateway can not be deactivated');
  const session = await openSession().catch((error: unknown) => {
    // The service has let it go: nothing of the store can be had, and nothing is held.
    if (record.service !== undefined && isLetGo(error)) return undefined;
    throw error;
  });
  return await whileActivating(home, call, async () => {
    const remarks = session === undefined ? [LET_GO] : await leave(parts, record, session, call);
    await updateState(
      home,
      (state) => {
        state.gateway = null;
        state.activation = null;
      },
      { lockTimeoutMs: call.lockTimeoutMs, signal: call.signal },
    );
    await removePrivateKey(home);
    await removeCertificateFile(home);
    const { removeChapFile } = await import('./serving/chap-file.ts');
    await removeChapFile(home);
    const { forgetExportsBut } = await import('./groups/kept-exports.ts');
    await forgetExportsBut(home, new Set());
    return {
      gatewayId: record.gatewayId,
      name: record.name,
      home,
      store: openableStore(home, record.store),
      deactivatedAt: new Date(clock.nowMs()).toISOString(),
      ...(remarks.length === 0 ? {} : { remarks }),
    };
  });
}

const LET_GO = 'The service had deregistered the gateway already.';

const isLetGo = (error: unknown): boolean => error instanceof SgwError && error.code === 'gateway-deregistered';

/** Sentences about what could not be told. */
async function leave(
  parts: GatewayParts,
  record: GatewayState,
  session: Session,
  call: CallContext,
): Promise<string[]> {
  try {
    const held = { gatewayId: record.gatewayId, what: 'the gateway can not be deactivated' };
    await requireNothingHeld(new Catalog(session.blocks), held, call);
    return await tellService(parts, record, session, call);
  } catch (error) {
    if (record.service !== undefined && isLetGo(error)) return [LET_GO];
    throw error;
  }
}

/** With its own signature, or, when the key is lost, as the operator. One that was never enrolled has nothing to tell. */
async function tellService(
  { home }: GatewayParts,
  { gatewayId, credential, service: remote }: GatewayState,
  { service }: Session,
  call: CallContext,
): Promise<string[]> {
  if (credential === null) return [];
  const hasKey = (await readPrivateKey(home).catch(() => undefined)) !== undefined;
  if (hasKey) await service.ask('gateway.deregister', {}, call);
  else if (remote === undefined) await service.operate('gateway.remove', { gatewayId }, call);
  else {
    const command = `sgw service gateway shutdown ${gatewayId} --deregister --service ${remote.url}`;
    return [`The service could not be told, since the private key is lost. Tell it: ${command}`];
  }
  return [];
}
