/**
 * What the service answers to each message, once it is known that it may be sent: by `service.ts` in the embedded form, by
 * `server/` over the network.
 */
import { SgwError } from '../kit/index.ts';
import {
  LIMIT_NAMES,
  type MessageInput,
  type MessageName,
  type MessageResult,
  type Signed,
  type SignedMessageName,
} from '../protocol/index.ts';
import { Activations } from './activation/activations.ts';
import type { Alerts } from './alerts/alerts.ts';
import { Audit } from './audit/audit.ts';
import { configurationOf, Configurations } from './configuration/configurations.ts';
import type { ServiceContext } from './context.ts';
import { ExportControl, type Asker } from './exportcontrol/export-control.ts';
import { Sharing } from './exportcontrol/sharing.ts';
import { Groups } from './groups/groups.ts';
import { TakeOvers } from './groups/take-overs.ts';
import type { AccessKeys } from './identity/access-keys.ts';
import { Accounts } from './identity/accounts.ts';
import type { CertificateAuthority } from './identity/certificates.ts';
import { Gateways, summaryOf, type GatewayRecord } from './identity/gateways.ts';
import { SignatureCheck } from './identity/signature-check.ts';
import { Quotas } from './quotas/quotas.ts';

export type Answers = {
  readonly [N in MessageName]: (input: MessageInput<N>, signal: AbortSignal) => Promise<MessageResult<N>>;
};

/** What every form of the service has. */
export interface ServiceParts {
  readonly context: ServiceContext;
  readonly signatures: SignatureCheck;
  readonly accounts: Accounts;
  readonly gateways: Gateways;
  readonly activations: Activations;
  readonly configurations: Configurations;
  readonly audit: Audit;
  readonly quotas: Quotas;
  readonly exports: ExportControl;
  readonly sharing: Sharing;
  readonly groups: Groups;
  readonly takeOvers: TakeOvers;
}

/** What only a service on the network has. */
export interface NetworkParts {
  readonly keys: AccessKeys;
  readonly authority: CertificateAuthority;
  readonly alerts: Alerts;
  /** Known once it listens. */
  readonly about: () => MessageResult<'service.describe'>;
}

export function servicePartsOf(context: ServiceContext): ServiceParts {
  const signatures = new SignatureCheck(context);
  const accounts = new Accounts(context);
  const gateways = new Gateways(context, signatures);
  const audit = new Audit(context);
  const groups = new Groups(context, gateways);
  const quotas = new Quotas(context);
  return {
    ...{ context, signatures, accounts, gateways, audit, quotas },
    configurations: new Configurations(context, gateways),
    activations: new Activations({ context, accounts, gateways, signatures, quotas }),
    exports: new ExportControl(context, audit),
    sharing: new Sharing(context, accounts, audit),
    groups,
    takeOvers: new TakeOvers(groups, audit),
  };
}

/** Without `network`: the embedded form, which has no access keys and no certificates. */
export function answersOf(parts: ServiceParts, network?: NetworkParts): Answers {
  const { context, activations } = parts;
  return {
    'activation.register': async (input, signal) => await activations.register(input, signal),
    'activation.prove': async (input, signal) => await activations.prove(input, signal),
    'activation.describe': async (input, signal) => await activations.describe(input, signal),
    'activation.claim': async (input, signal) => await activations.claim(input, signal),
    'activation.collect': async (input, signal) => await activations.collect(input, signal),
    'activation.credential': async (input, signal) => await activations.credential(input, signal),
    'activation.withdraw': async (input, signal) => {
      await activations.withdraw(input, signal);
      return {};
    },
    ...gatewayAnswers(parts, network),
    ...exportAnswers(parts),
    ...groupAnswers(parts),
    'user.describe': async () => Promise.reject(nobodySigned()),
    'service.describe': async () => Promise.resolve(requireNetwork(context, network).about()),
    ...keyAnswers(context, network),
    ...alertAnswers(parts, network),
    ...quotaAnswers(parts, network),
    'account.create': async (input, signal) => await parts.accounts.create(input, signal),
    'account.list': async (_input, signal) => ({ accounts: await parts.accounts.list(signal) }),
    'account.find': async ({ accountId }, signal) => await parts.accounts.find(accountId, signal),
    'account.begin': async ({ accountId, isKnown }, signal) => await parts.accounts.begin(accountId, isKnown, signal),
  };
}

type GroupMessageName = Extract<SignedMessageName, `group.${string}`>;
type Some<P extends string> = Pick<Answers, Extract<MessageName, `${P}.${string}`>>;

function gatewayAnswers(parts: ServiceParts, network: NetworkParts | undefined): Some<'gateway'> {
  const { context, gateways, groups } = parts;
  return {
    ...configurationAnswers(parts),
    'gateway.certificate': async (input, signal) => {
      const { authority } = requireNetwork(context, network);
      const gateway = await gateways.requireActive('gateway.certificate', input, signal);
      return await authority.issueGateway(gateway, input.body.csr);
    },
    'gateway.deregister': async (input, signal) => {
      const { gatewayId } = await gateways.authenticate('gateway.deregister', input, signal);
      await groups.requireNone(gatewayId, signal);
      await gateways.deregister(gatewayId, signal);
      return {};
    },
    'gateway.remove': async ({ gatewayId }, signal) => {
      if ((await gateways.find(gatewayId, signal)) !== undefined) await gateways.deregister(gatewayId, signal);
      return {};
    },
    'gateway.list': async ({ accountId }, signal) => ({
      gateways: (await gateways.list(accountId, signal)).map(summaryOf),
    }),
    'gateway.find': async ({ gatewayId }, signal) => summaryOf(await gateways.require(gatewayId, signal)),
  };
}

type ConfigurationAnswers = Pick<
  Answers,
  'gateway.configuration' | 'gateway.configure' | 'gateway.settings' | 'gateway.request-configuration'
>;

function configurationAnswers({ gateways, configurations }: ServiceParts): ConfigurationAnswers {
  return {
    'gateway.configuration': async (input, signal) =>
      configurationOf(await gateways.requireActive('gateway.configuration', input, signal)),
    'gateway.configure': async ({ gatewayId, gatewayName, region, serving, answer, expectedVersion }, signal) => {
      const changes = {
        ...(gatewayName === null ? {} : { name: gatewayName }),
        ...(region === null ? {} : { region }),
        ...(serving === undefined ? {} : { serving }),
      };
      const order = { changes, answer: answer ?? null, expectedVersion: expectedVersion ?? null };
      const { record, ...outcome } = await configurations.change(gatewayId, order, signal);
      return { ...summaryOf(record), ...outcome };
    },
    'gateway.settings': async ({ gatewayId }, signal) => await configurations.standing(gatewayId, signal),
    'gateway.request-configuration': async (input, signal) => {
      const { gatewayId } = await gateways.requireActive('gateway.request-configuration', input, signal);
      return await configurations.request(gatewayId, input.body.changes, signal);
    },
  };
}

function alertAnswers({ context }: ServiceParts, network: NetworkParts | undefined): Some<'alert'> {
  const alerts = (): Alerts => {
    if (network !== undefined) return network.alerts;
    const message = `the service of ${context.serviceId} is embedded in its gateway, and tells nobody when that is gone`;
    throw new SgwError('unsupported', 'alerts-need-service', message, { hint: ALERTS_HINT });
  };
  return {
    'alert.set': async ({ accountId, ...wish }, signal) => await alerts().set(accountId, wish, signal),
    'alert.list': async ({ accountId }, signal) => ({ alerts: await alerts().list(accountId, signal) }),
    'alert.remove': async ({ accountId, name }, signal) => ({
      removed: await alerts().remove(accountId, name, signal),
    }),
  };
}

const ALERTS_HINT =
  'Run a service (sgw service run), activate the gateway at it (sgw activate --service URL), and give --service URL here.';

function exportAnswers(parts: ServiceParts): Some<'export' | 'snapshot'> {
  const { exports, sharing, signatures } = parts;
  return {
    'export.decide': async (input, signal) =>
      await exports.decide(await askerOf(parts, 'export.decide', input, signal), input.body, signal),
    'export.list': async (input, signal) => ({
      exportable: await exports.list(
        await askerOf(parts, 'export.list', input, signal),
        input.body.snapshotIds,
        signal,
      ),
    }),
    'export.assess': async (input, signal) => {
      const { accountId } = await askerOf(parts, 'export.assess', input, signal);
      return await exports.assess(accountId, input.body.snapshotId, signal);
    },
    'export.judge': async ({ accountId, snapshotId }, signal) => await exports.judge(accountId, snapshotId, signal),
    'export.survey': async ({ accountId, snapshotIds }, signal) => await exports.survey(accountId, snapshotIds, signal),
    'snapshot.share': async (input, signal) => {
      const asker = await askerOf(parts, 'snapshot.share', input, signal);
      await signatures.spend('snapshot.share', input, signal);
      return await sharing.share(asker, input.body, signal);
    },
    'snapshot.unshare': async (input, signal) =>
      await sharing.unshare(await askerOf(parts, 'snapshot.unshare', input, signal), input.body, signal),
  };
}

function groupAnswers(parts: ServiceParts): Some<'group'> {
  const { groups, gateways, takeOvers, signatures } = parts;
  /** What changes something counts once. */
  const once = async (name: GroupMessageName, input: Signed<{ accountId: string }>, signal: AbortSignal) => {
    const asker = await askerOf(parts, name, input, signal);
    await signatures.spend(name, input, signal);
    return asker;
  };
  return {
    'group.create': async (input, signal) =>
      await groups.create(await askerOf(parts, 'group.create', input, signal), input.body, signal),
    'group.list': async (input, signal) => ({
      groups: await groups.list(await askerOf(parts, 'group.list', input, signal), signal),
    }),
    'group.find': async (input, signal) =>
      await groups.find(await askerOf(parts, 'group.find', input, signal), input.body.group, signal),
    'group.of-volume': async (input, signal) => {
      const asker = await askerOf(parts, 'group.of-volume', input, signal);
      return { group: await groups.ofVolume(asker, input.body.volumeId, signal) };
    },
    'group.delete': async (input, signal) => ({
      group: await groups.delete(await once('group.delete', input, signal), input.body.group, signal),
    }),
    'group.add': async (input, signal) => await groups.add(await once('group.add', input, signal), input.body, signal),
    'group.remove': async (input, signal) =>
      await groups.remove(await once('group.remove', input, signal), input.body, signal),
    'group.assign': async (input, signal) =>
      await groups.assign(await once('group.assign', input, signal), input.body, signal),
    'group.unassign': async (input, signal) =>
      await groups.unassign(await once('group.unassign', input, signal), input.body, signal),
    'group.announce': async (input, signal) => {
      const gateway = await gateways.requireActive('group.announce', input, signal);
      return { group: await groups.announce(gateway, input.body.address, signal) };
    },
    'group.mine': async (input, signal) => {
      const { gatewayId } = await gateways.requireActive('group.mine', input, signal);
      return { group: await groups.ofGateway(gatewayId, signal) };
    },
    'group.permit': async (input, signal) => {
      await takeOvers.permit(await gateways.requireActive('group.permit', input, signal), input.body, signal);
      return {};
    },
  };
}

function keyAnswers(context: ServiceContext, network: NetworkParts | undefined): Some<'key'> {
  return {
    'key.create': async (input, signal) => await requireNetwork(context, network).keys.create(input, signal),
    'key.list': async ({ accountId }, signal) => ({
      keys: await requireNetwork(context, network).keys.list(accountId, signal),
    }),
    'key.revoke': async ({ accessKeyId }, signal) =>
      await requireNetwork(context, network).keys.revoke(accessKeyId, signal),
  };
}

type QuotaAnswers = Pick<Answers, 'account.quotas' | 'account.limit'>;

function quotaAnswers({ context, accounts, quotas }: ServiceParts, network: NetworkParts | undefined): QuotaAnswers {
  const shown = async (accountId: string, signal: AbortSignal): Promise<MessageResult<'account.quotas'>> => {
    requireNetwork(context, network);
    const account = await accounts.find(accountId, signal);
    const [limits, usage] = await Promise.all([quotas.limitsOf(accountId, signal), quotas.usageOf(accountId, signal)]);
    return { ...account, limits, usage };
  };
  return {
    'account.quotas': async ({ accountId }, signal) => await shown(accountId, signal),
    'account.limit': async ({ accountId, limits: changes }, signal) => {
      const before = await shown(accountId, signal);
      const limits = await quotas.change(accountId, changes, signal);
      return { ...before, limits, changed: LIMIT_NAMES.filter((name) => limits[name] !== before.limits[name]) };
    },
  };
}

async function askerOf(
  { context, gateways, accounts }: ServiceParts,
  name: SignedMessageName,
  request: Signed<{ readonly accountId: string }>,
  signal: AbortSignal,
): Promise<Asker & { readonly gatewayId: string }> {
  const gateway = await gateways.requireActive(name, request, signal);
  const { accountId } = request.body;
  if (accountId !== gateway.accountId) {
    requireEmbedded(context, gateway, accountId);
    await accounts.find(accountId, signal);
  }
  return { gatewayId: gateway.gatewayId, accountId };
}

/** A gateway acts for its own account; where its operator runs the service as well, for any. */
function requireEmbedded(context: ServiceContext, gateway: GatewayRecord, accountId: string): void {
  if (context.isEmbedded) return;
  throw new SgwError(
    'denied',
    'gateway-of-other-account',
    `gateway ${gateway.gatewayId} belongs to account ${gateway.accountId}, and does not act for ${accountId.slice(0, 12)}`,
    { hint: 'Use a gateway of that account.' },
  );
}

function requireNetwork({ serviceId }: ServiceContext, network: NetworkParts | undefined): NetworkParts {
  if (network !== undefined) return network;
  const message = `the service of ${serviceId} is embedded in its gateway, and has no access keys and no certificates`;
  throw new SgwError('unsupported', 'service-embedded', message, {
    hint: 'They belong to a service on the network: sgw service run',
  });
}

/** `server/` answers it, which knows who signed. */
const nobodySigned = (): SgwError =>
  new SgwError('unsupported', 'service-embedded', 'nobody signs what an embedded service is asked', {
    hint: 'Access keys belong to a service on the network: sgw service run',
  });
