/**
 * `activate` at a service over the network: shows the activation key, waits until a customer has claimed the gateway with it,
 * and goes on once whoever is at the device agrees with who did. Each step is one call of the gateway's own API, so that
 * the same command goes on after any end.
 */
import { SgwError } from '../../kit/index.ts';
import type { ActivationDocument, GatewayMode, Input, RemoteActivationDocument } from '../../localapi/index.ts';
import { activationFields } from '../gateway-views.ts';
import { currentRuntime, write } from '../runtime.ts';
import { keepRecoveryCode } from '../secret-files.ts';
import { firstSecret, namesSecret } from '../secrets.ts';
import type { CallLimits, Session } from '../session.ts';
import { storeLocation, type StoreFlags } from '../store-location.ts';
import { styleFor } from '../style.ts';
import { formatTime, renderFields } from '../tables.ts';
import { given } from '../values.ts';
import { namedService } from './connection.ts';
import { pendingFields } from './api-views.ts';

/** Each is good for 30 minutes. */
const KEYS_MAX = 3;
const DEFAULT_PAGE = '127.0.0.1:8480';

interface RemoteActivationWish {
  readonly input: Pick<Input<'activation.begin'>, 'name' | 'mode' | 'region' | 'store' | 'ifNotExists'>;
  readonly encrypt: boolean;
  readonly renew: CallLimits['renew'];
  /** `HOST:PORT`, or `off`. */
  readonly page: string | undefined;
  readonly waits: boolean;
  readonly timeoutMs: number | undefined;
  readonly isConfirmed: boolean;
}

/** Whether to activate at a service: one was named, or, before anything is asked, an activation there was stopped. */
export async function isForService(session: Session, store: string | undefined): Promise<boolean> {
  if (session.serviceUrl !== undefined) return true;
  if (store !== undefined || !session.prompts.isInteractive) return false;
  return (await session.call('status', {})).activation !== undefined;
}

/** An activation at a service was stopped in this home. */
export const isStoppedThere = (error: unknown): boolean =>
  error instanceof SgwError && error.code === 'activation-pending';

/**
 * The gateway, or how far it is when it is not waited for.
 * @throws timeout `activation-unclaimed`; denied `claimed-by-other`; aborted `not-confirmed`; what the calls throw
 */
async function activateAtService(
  session: Session,
  wish: RemoteActivationWish,
): Promise<ActivationDocument | RemoteActivationDocument> {
  const startedMs = performance.now();
  const service = await namedService(session.serviceFlags);
  const begin = async (): Promise<RemoteActivationDocument> =>
    session.call(
      'activation.begin',
      { ...wish.input, ...(service === undefined ? {} : { service }) },
      { label: 'asking the service for an activation key' },
    );
  for (let keys = 1; ; keys++) {
    let now = await begin();
    if (now.state === 'activated') return await session.call('activate', { ifNotExists: true });
    if (now.state === 'shown') {
      if (!wish.waits) return now;
      await showKey(now);
      const leftMs = wish.timeoutMs === undefined ? undefined : wish.timeoutMs - (performance.now() - startedMs);
      now = await waitForClaim(session, wish.page, leftMs);
    }
    if (now.state !== 'expired') return await finish(session, now, wish);
    if (keys >= KEYS_MAX) {
      throw new SgwError('timeout', 'activation-unclaimed', 'nobody claimed the gateway before its key expired', {
        hint: 'Run the same command again for another key.',
      });
    }
  }
}

async function waitForClaim(
  session: Session,
  page: string | undefined,
  leftMs: number | undefined,
): Promise<RemoteActivationDocument> {
  const limits = {
    label: 'waiting for the gateway to be claimed',
    ...(leftMs === undefined ? {} : { timeoutMs: Math.max(1, leftMs) }),
  };
  const at = page ?? DEFAULT_PAGE;
  try {
    return await session.call('activation.await', { page: at === 'off' ? null : at }, limits);
  } catch (error) {
    // Nobody asked for the page to be just there.
    if (page !== undefined || !(error instanceof SgwError) || error.code !== 'page-address-used') throw error;
    return await session.call('activation.await', { page: '127.0.0.1:0' }, limits);
  }
}

async function finish(
  session: Session,
  { claimedBy }: RemoteActivationDocument,
  wish: RemoteActivationWish,
): Promise<ActivationDocument> {
  const { accountId = '', name = '' } = claimedBy ?? {};
  const expected = session.serviceFlags.account;
  if (expected !== undefined && expected !== accountId) {
    await session.call('activation.withdraw', {});
    const message = `the gateway was claimed for account ${accountId}, not for ${expected}; this was given up`;
    throw new SgwError('denied', 'claimed-by-other', message, {
      hint: 'Somebody else had the activation key. Begin anew, and show the key to nobody else.',
      details: { accountId },
    });
  }
  if (expected === undefined && !wish.isConfirmed && session.prompts.isInteractive) {
    const message = `Account ${accountId} has claimed this gateway as ${JSON.stringify(name)}. Go on?`;
    try {
      await session.prompts.confirm({ message, flag: '--yes' });
    } catch (error) {
      if (error instanceof SgwError && error.code === 'not-confirmed') await session.call('activation.withdraw', {});
      throw error;
    }
  }
  return await session.call(
    'activation.finish',
    { accountId, ...(wish.encrypt ? { encrypt: true } : {}) },
    { renew: wish.renew, label: `becoming gateway ${name}` },
  );
}

/** On standard error, also with --json and --quiet: without it nobody could go on. */
async function showKey(begun: RemoteActivationDocument): Promise<void> {
  const { stderr } = currentRuntime();
  const style = styleFor(stderr, false);
  const fields = renderFields(
    [
      ['activation key', begun.activationKey],
      ['good until', begun.expiresAt === null ? null : `${formatTime(begun.expiresAt)} UTC`],
      ['fingerprint of its key', begun.keyFingerprint],
      ['to claim it', begun.claimUrl],
      ['or', `sgw service activate ${begun.activationKey ?? ''} --service ${begun.service}`],
    ],
    style,
  );
  await write(stderr, `${fields}\n`);
}

/** What `activate` may be given. */
export interface RemoteActivationFlags extends StoreFlags {
  readonly name: string | undefined;
  readonly mode: GatewayMode | undefined;
  readonly region: string | undefined;
  readonly encrypt: boolean;
  readonly 'recovery-file': string | undefined;
  readonly 'if-not-exists': boolean;
  readonly page: string | undefined;
  readonly 'no-wait': boolean;
  readonly timeout: number | undefined;
  readonly yes: boolean;
}

/** The whole of `activate --service`, with what it prints. @throws as `activateAtService` */
export async function activateRemotely(session: Session, flags: RemoteActivationFlags): Promise<void> {
  const { name, mode, region, timeout: timeoutMs, yes: isConfirmed } = flags;
  const surroundings = session.secretSurroundings;
  const input = given({ name, mode, region, store: storeLocation(flags) });
  const wish = {
    input: { ...input, ifNotExists: flags['if-not-exists'] },
    encrypt: flags.encrypt || namesSecret(session.secretFiles, session.env),
    renew: firstSecret(session.secretFiles, surroundings),
    ...{ page: flags.page, waits: !flags['no-wait'], timeoutMs, isConfirmed },
  };
  let pending: RemoteActivationDocument | undefined;
  const { result, codeFile } = await keepRecoveryCode(flags['recovery-file'], surroundings.say, async () => {
    const activated = await activateAtService(session, wish);
    if (!('claimUrl' in activated)) return activated;
    pending = activated;
    return { recoveryCode: null };
  });
  if (pending !== undefined) {
    const waiting = pending;
    await session.print(waiting, (style) => pendingFields(waiting, style));
    await session.next('sgw activate');
  } else if ('gatewayId' in result) {
    await session.print(result, (style) => activationFields(result, style, codeFile));
    await session.next('sgw gateway start', 'sgw volume create NAME --size 10GiB');
  }
}
