/** What the verbs of topic `service` ask a service over the network. */
import { quoted, SgwError, toSgwError } from '../../kit/index.ts';
import { accountThere } from '../../localapi/index.ts';
import type {
  AccessKeyCreated,
  AccessKeyList,
  AccessKeyRevoked,
  AccountCreated,
  AccountList,
  GatewayMode,
  Input,
  ServiceActivationDocument,
  ServiceGatewayConfigured,
  ServiceGatewayDocument,
  ServiceGatewayList,
  ServiceGatewayShutdown,
  StatusDocument,
} from '../../localapi/index.ts';
import type { MessageInput, MessageResult, ServiceClient } from '../../serviceclient/index.ts';
import type { Session } from '../session.ts';
import { formatTime, renderFields } from '../tables.ts';
import { currentRuntime, write } from '../runtime.ts';
import { styleFor } from '../style.ts';
import { connectService } from './connection.ts';

type Gateway = ServiceGatewayList['gateways'][number];
type Standing = ServiceGatewayConfigured['configuration'];

/** The service, for as long as `work` lasts. */
export async function asking<T>(session: Session, work: (client: ServiceClient) => Promise<T>): Promise<T> {
  await using client = await connectService(session.serviceFlags, session);
  return await work(client);
}

/** The account that is acted for: the one that was named, else that of the access key. */
export async function accountOf(session: Session, client: ServiceClient): Promise<string> {
  const { account } = session.serviceFlags;
  return account ?? (await client.request('user.describe', {}, session)).accountId;
}

interface Claim {
  readonly activationKey: string;
  readonly name?: string | undefined;
  readonly mode?: GatewayMode | undefined;
  readonly region?: string | undefined;
  readonly isConfirmed: boolean;
}

/**
 * Takes a gateway to the service by its activation key: shows what it told of itself, and asks.
 * @throws invalid `confirmation-needed` without a terminal; aborted `not-confirmed`; what the service refuses with
 */
export async function claimGateway(session: Session, wanted: Claim): Promise<ServiceActivationDocument> {
  return await asking(session, async (client) => {
    const { activationKey } = wanted;
    const device = await client.request('activation.describe', { activationKey }, session);
    const { metadata, keyFingerprint } = device;
    const accountId = await accountOf(session, client);
    const gatewayName = wanted.name ?? metadata['name'] ?? '';
    const mode = wanted.mode ?? (metadata['mode'] === 'shadowing' ? 'shadowing' : 'cached');
    const region = wanted.region ?? (await client.request('service.describe', {}, session)).region;
    if (!wanted.isConfirmed) {
      if (!session.prompts.isInteractive) throw confirmationNeeded();
      await showDevice(device);
      const message = `Is this your device, and is it to be gateway ${quoted(gatewayName)} (${mode}) of account ${accountId}?`;
      await session.prompts.confirm({ message, flag: '--yes' });
    }
    const claim = { activationKey, gatewayName, accountId, mode, region, gatewayId: null, confirm: true };
    const { gatewayId } = await client.request('activation.claim', claim, session);
    return { gatewayId, gatewayName, accountId, mode, region, keyFingerprint, metadata: { ...metadata } };
  });
}

/** On standard error, whatever is asked for on standard output: it is what the question is about. */
async function showDevice(device: {
  readonly metadata: Readonly<Record<string, string>>;
  readonly keyFingerprint: string;
  readonly expiresAt: string;
}): Promise<void> {
  const { stderr } = currentRuntime();
  const fields = [
    ...Object.entries(device.metadata).map(([name, value]) => [name, value] as const),
    ['fingerprint of its key', device.keyFingerprint] as const,
    ['key good until', `${formatTime(device.expiresAt)} UTC`] as const,
  ];
  await write(stderr, `The gateway says of itself:\n${renderFields(fields, styleFor(stderr, false))}\n`);
}

const confirmationNeeded = (): SgwError =>
  new SgwError('invalid', 'confirmation-needed', 'this would claim a gateway unseen, and can not be asked here', {
    hint: 'Compare what the gateway shows, and add --yes to claim it without being asked.',
  });

/** @throws as the operation of the same name does; denied `root-needed` */
export async function createRemoteAccount(
  session: Session,
  input: Input<'service.account.create'>,
): Promise<AccountCreated> {
  return await asking(session, async (client) => {
    const { name, accountId = null, clientToken = null } = input;
    if (input.ifNotExists === true && clientToken === null) {
      const { accounts } = await client.request('account.list', {}, session);
      const present = accountThere(accounts, input);
      if (present !== undefined) return { ...present, created: false };
    }
    return await client.request('account.create', { name, accountId, clientToken }, session);
  });
}

/** @throws denied `root-needed` */
export async function listRemoteAccounts(session: Session): Promise<AccountList> {
  return await asking(session, async (client) => {
    const { accounts } = await client.request('account.list', {}, session);
    return { accounts: [...accounts] };
  });
}

/** The secret is in the answer and nowhere else. */
export async function createAccessKey(session: Session, userName: string): Promise<AccessKeyCreated> {
  return await asking(session, async (client) => {
    const accountId = await accountOf(session, client);
    return { ...(await client.request('key.create', { accountId, userName }, session)) };
  });
}

export async function listAccessKeys(session: Session, isOfAll: boolean): Promise<AccessKeyList> {
  return await asking(session, async (client) => {
    const accountId = isOfAll ? null : await accountOf(session, client);
    return { keys: [...(await client.request('key.list', { accountId }, session)).keys] };
  });
}

export async function revokeAccessKey(session: Session, accessKeyId: string): Promise<AccessKeyRevoked> {
  return await asking(session, async (client) => ({
    ...(await client.request('key.revoke', { accessKeyId }, session)),
  }));
}

export async function listServiceGateways(session: Session, isOfAll: boolean): Promise<ServiceGatewayList> {
  return await asking(session, async (client) => {
    const accountId = isOfAll ? null : await accountOf(session, client);
    return { gateways: [...(await client.request('gateway.list', { accountId }, session)).gateways] };
  });
}

/** What the service knows, and what the gateway says if it can be reached. */
export async function showServiceGateway(session: Session, reference: string): Promise<ServiceGatewayDocument> {
  return await asking(session, async (client) => {
    const gateway = await findGateway(session, client, reference);
    if (gateway.state === 'deregistered')
      return { ...gateway, reachable: false, reason: 'it was deregistered', status: null, configuration: null };
    const { gatewayId } = gateway;
    const configuration = standingOf(await client.request('gateway.settings', { gatewayId }, session));
    try {
      const status = await callGateway(session, client, gateway.gatewayId, async (api, context) =>
        api.call('status', {}, context),
      );
      return { ...gateway, reachable: true, reason: null, status, configuration };
    } catch (error) {
      return { ...gateway, reachable: false, reason: notReached(error).message, status: null, configuration };
    }
  });
}

/** The status of a gateway in `ServiceGatewayDocument`. */
export const statusIn = ({ status }: ServiceGatewayDocument): StatusDocument | null => status as StatusDocument | null;

/** What is wanted of a gateway, and the answer to what its operator asks for. */
export interface ConfigurationOrder {
  readonly name?: string | undefined;
  readonly region?: string | undefined;
  readonly serving?: MessageInput<'gateway.configure'>['serving'];
  readonly answer?: { readonly accept: boolean; readonly reason: string | null } | undefined;
  readonly expectedVersion?: number | undefined;
}

/** @throws notFound `gateway-not-found`, `request-not-found`; conflict `configuration-changed`; what the service refuses with */
export async function configureServiceGateway(
  session: Session,
  reference: string,
  { name, region, serving, answer, expectedVersion }: ConfigurationOrder,
): Promise<ServiceGatewayConfigured> {
  return await asking(session, async (client) => {
    const { gatewayId } = await findGateway(session, client, reference);
    const input = {
      ...{ gatewayId, gatewayName: name ?? null, region: region ?? null },
      ...(serving === undefined ? {} : { serving }),
      ...(answer === undefined ? {} : { answer: { ...answer, requestId: null } }),
      ...(expectedVersion === undefined ? {} : { expectedVersion }),
    };
    const { standing, changedSettings, ...configured } = await client.request('gateway.configure', input, session);
    return { ...configured, changedSettings: [...changedSettings], configuration: standingOf(standing) };
  });
}

function standingOf({ configuration, receipt, request }: MessageResult<'gateway.settings'>): Standing {
  const { version, serving, answer } = configuration;
  return {
    ...{ version, settings: { ...serving }, receipt, answer },
    request: request === null ? null : { ...requestOf(request) },
  };
}

function requestOf({
  requestId,
  requestedAt,
  changes,
}: NonNullable<MessageResult<'gateway.settings'>['request']>): NonNullable<Standing['request']> {
  const { serving = {}, ...names } = changes;
  return { requestId, requestedAt, settings: { ...names, ...serving } };
}

/** What is shut down: asked for before anything is. */
export async function serviceGatewayOf(session: Session, reference: string): Promise<Gateway> {
  return await asking(session, async (client) => findGateway(session, client, reference));
}

/**
 * Ends what the gateway serves, until it is resumed; with `deregister` its daemon, and takes the gateway away from the service
 * for good, also one that can not be reached.
 */
export async function shutDownServiceGateway(
  session: Session,
  reference: string,
  how: { readonly drain: boolean; readonly timeoutMs?: number | undefined; readonly deregister: boolean },
): Promise<ServiceGatewayShutdown> {
  return await asking(session, async (client) => {
    const { gatewayId, gatewayName, state } = await findGateway(session, client, reference);
    const { drain, timeoutMs, deregister } = how;
    const remarks: string[] = [];
    let stopped = false;
    if (state === 'active') {
      try {
        const input = { drain, ...(timeoutMs === undefined ? {} : { timeoutMs }) };
        await callGateway(session, client, gatewayId, async (api, context) =>
          deregister ? api.call('gateway.stop', input, context) : api.call('gateway.suspend', {}, context),
        );
        stopped = true;
      } catch (error) {
        const failure = notReached(error);
        if (!deregister) throw failure;
        remarks.push(`Its daemon was not stopped: ${failure.message}.`);
      }
    }
    if (deregister) await client.request('gateway.remove', { gatewayId }, session);
    return { gatewayId, gatewayName, stopped, deregistered: deregister || state === 'deregistered', remarks };
  });
}

/** @throws invalid `usage` for how a daemon is stopped that is not to be stopped */
export function checkShutdownFlags(flags: {
  readonly deregister: boolean;
  readonly 'no-drain': boolean;
  readonly timeout?: number | undefined;
}): void {
  if (flags.deregister || (!flags['no-drain'] && flags.timeout === undefined)) return;
  throw new SgwError(
    'invalid',
    'usage',
    'the daemon is stopped with --deregister alone, so --no-drain and --timeout are for that',
    {
      hint: 'To stop the daemon of a gateway that stays: sgw gateway stop --gateway GATEWAY',
    },
  );
}

/** Has the gateway serve again what is attached. */
export async function resumeServiceGateway(session: Session, reference: string): Promise<ServiceGatewayShutdown> {
  return await asking(session, async (client) => {
    const { gatewayId, gatewayName, state } = await findGateway(session, client, reference);
    if (state === 'active')
      await callGateway(session, client, gatewayId, async (api, context) => api.call('gateway.resume', {}, context));
    return { gatewayId, gatewayName, stopped: false, deregistered: state === 'deregistered', remarks: [] };
  });
}

/** A gateway that can't be reached is told of; what else went wrong is thrown. */
function notReached(error: unknown): SgwError {
  const failure = toSgwError(error);
  if (UNREACHED.has(failure.code)) return failure;
  throw failure;
}

const UNREACHED: ReadonlySet<string> = new Set([
  'gateway-not-connected',
  'gateway-busy',
  'gateway-timed-out',
  'gateway-outdated',
  'remote-management-off',
]);

type RemoteApi = InstanceType<typeof import('../../serviceclient/index.ts').RemoteGateway>;

async function callGateway<T>(
  session: Session,
  client: ServiceClient,
  gatewayId: string,
  work: (api: RemoteApi, context: Parameters<RemoteApi['call']>[2]) => Promise<T>,
): Promise<T> {
  const { RemoteGateway } = await import('../../serviceclient/index.ts');
  const { signal, lockTimeoutMs } = session;
  return await session.during(`asking ${gatewayId}`, async (onProgress) =>
    work(new RemoteGateway(client, gatewayId), { signal, lockTimeoutMs, onProgress }),
  );
}

/** By id, or by the name that it has in the account. @throws notFound `gateway-not-found`; conflict `ambiguous-name` */
export async function findGateway(session: Session, client: ServiceClient, reference: string): Promise<Gateway> {
  if (/^sgw-[0-9a-f]{8}$/i.test(reference))
    return await client.request('gateway.find', { gatewayId: reference.toLowerCase() }, session);
  const accountId = await accountOf(session, client);
  const { gateways } = await client.request('gateway.list', { accountId }, session);
  const named = gateways.filter(({ gatewayName }) => gatewayName === reference);
  const candidates = named.some(({ state }) => state === 'active')
    ? named.filter(({ state }) => state === 'active')
    : named;
  const [first, second] = candidates;
  if (first === undefined) {
    throw new SgwError('notFound', 'gateway-not-found', `gateway ${quoted(reference)} does not exist`, {
      hint: 'sgw service gateway list shows those that there are.',
      details: { id: reference },
    });
  }
  if (second === undefined) return first;
  throw new SgwError('conflict', 'ambiguous-name', `more than one gateway is named ${quoted(reference)}`, {
    hint: 'Name it by its id.',
    details: { candidates: candidates.map(({ gatewayId }) => gatewayId) },
  });
}
