/**
 * What follows once a customer has claimed the device: credential, configuration, certificate, the store, and the gateway is
 * made. Each is durable before the next, and all can be repeated.
 */
import { encryptionOf, readStoreInfo } from '../../blockstore/index.ts';
import { assert, SgwError } from '../../kit/index.ts';
import type { ActivationDocument, CallContext, Input } from '../../localapi/index.ts';
import type { GatewayConfiguration } from '../../protocol/index.ts';
import { isServiceUrl } from '../../objectstore/index.ts';
import { openState, type GatewayState } from '../../state/index.ts';
import { activationDocument, makeGateway, presentDocument } from '../activated.ts';
import { writeCertificateFile } from '../certificate-file.ts';
import { advance, configured } from '../enrolment.ts';
import { whileActivating } from '../handshake.ts';
import { beginKeys } from '../key-source.ts';
import type { GatewayParts } from '../parts.ts';
import { takeConfiguration } from '../provided.ts';
import { openableStore } from '../store-place.ts';
import { requireFit } from '../store-probe.ts';
import { connectionsOver, enrolmentOf, placeIn, requireBegun, type Begun } from './activation.ts';
import { requestCertificate } from './identity.ts';
import { persist, reachService } from './reach.ts';

/**
 * Makes the gateway of a device that was claimed. Durable when it resolves; a home that is one already answers with it.
 * @throws conflict `activation-not-begun`, `activation-not-claimed`; denied `claimed-by-other` when it was claimed for
 * another account than the caller has seen; what the service refuses with; what opening the store throws
 */
export async function finishRemote(
  parts: GatewayParts,
  input: Input<'activation.finish'>,
  call: CallContext,
): Promise<ActivationDocument> {
  const { home } = parts;
  return await whileActivating(home, call, async () => {
    const { gateway: present } = await openState(home);
    if (present !== null) return presentDocument(parts, present, { ifNotExists: true });
    const begun = await requireBegun(parts);
    requireClaimedFor(begun, input.accountId);
    const { pending: issued, configuration } = await issue(parts, begun, call);
    const opened = await openFirst(parts, issued, input.encrypt ?? false, call);
    const record = await makeGateway(parts, issued, opened, call);
    // What can't be done of it comes again with the first connection, and is told then.
    await takeConfiguration({ parts, reload: async () => Promise.resolve([]) }, configuration, call);
    return activationDocument(home, record, { created: true, recoveryCode: opened.recoveryCode });
  });
}

function requireClaimedFor({ pending }: Begun, accountId: string): void {
  if (pending.step === 'begun' || pending.step === 'shown') {
    throw new SgwError('conflict', 'activation-not-claimed', 'nobody has claimed the gateway yet', {
      hint: 'Take its activation key to the service.',
    });
  }
  if (pending.accountId === accountId) return;
  const message = `the gateway was claimed for account ${pending.accountId}, not for ${accountId}`;
  throw new SgwError('denied', 'claimed-by-other', message, {
    hint: 'If that is wrong, give it up and begin anew: sgw activate --service URL --account ID',
    details: { accountId: pending.accountId },
  });
}

/** On to a credential that the service honours, its configuration, and a certificate. */
async function issue(
  parts: GatewayParts,
  { pending, key }: Begun,
  call: CallContext,
): Promise<{ readonly pending: Begun['pending']; readonly configuration: GatewayConfiguration }> {
  const { service } = pending;
  await using transport = await reachService(parts, placeIn(service));
  const enrolment = enrolmentOf(parts, key, connectionsOver(transport, service.serviceId), call);
  let now: Begun['pending'] = pending;
  if (now.step === 'claimed') {
    const claimed = now;
    now = { ...(await persist(parts, call.signal, async () => advance(enrolment, claimed))), service };
    await enrolment.save(now);
  }
  const issued = now;
  const { pending: named, configuration } = await persist(parts, call.signal, async () =>
    configured(enrolment, issued),
  );
  const { gatewayId, credential } = issued;
  assert(gatewayId !== null && credential !== null, 'an issued activation has an id and a credential');
  const own = { service, gatewayId, credentialId: credential.credentialId, key };
  const given = await persist(parts, call.signal, async () => requestCertificate(parts, own, call.signal));
  await writeCertificateFile(parts.home, given.certificate);
  now = { ...named, service: { ...service, gatewayCa: given.caCertificate } };
  await enrolment.save(now);
  return { pending: now, configuration };
}

/** The service's store, or one of the user's own, which is begun where there is none. */
async function openFirst(
  parts: GatewayParts,
  { store, accountId, service }: Begun['pending'],
  encrypt: boolean,
  call: CallContext,
): Promise<Pick<GatewayState, 'storeId' | 'encryption'> & Pick<ActivationDocument, 'recoveryCode'>> {
  const place = openableStore(parts.home, store);
  const isOwn = !isServiceUrl(store);
  if (encrypt && !isOwn) {
    throw new SgwError('unsupported', 'store-not-yours', 'the store of a service is begun by the service', {
      hint: 'Name a store of your own, which only you can open: --store PLACE --encrypt',
    });
  }
  const objects = await parts.openStore(place, { create: isOwn });
  try {
    const blocks = { objects, clock: parts.clock, random: parts.random };
    if (isOwn) {
      await requireFit({ ...blocks, signal: call.signal }, place);
      const { info, encryption, recoveryCode } = await beginKeys(blocks, { encrypt, accountId }, call);
      return { storeId: info.storeId, encryption, recoveryCode };
    }
    const info = await readStoreInfo(objects, { signal: call.signal });
    if (info?.storeId !== service.serviceId) {
      throw new SgwError('conflict', 'other-store', `${place} does not hold the store of the service`, {
        hint: 'Ask whoever runs the service.',
        details: { store: place, storeId: service.serviceId },
      });
    }
    return { storeId: info.storeId, encryption: encryptionOf(info), recoveryCode: null };
  } finally {
    await objects.close();
  }
}
