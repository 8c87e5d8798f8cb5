/**
 * The service: takes messages, finds out who sent them, and hands them to the part that answers. All its state is in the
 * store, so that any number of services may run over one, and one may end at any moment.
 */
import { SgwError } from '../kit/index.ts';
import {
  inMemoryTransport,
  type MessageInput,
  type MessageName,
  type MessageResult,
  type ServiceConnections,
  type Signed,
  type SignedMessageName,
} from '../protocol/index.ts';
import type { Alerts } from './alerts/alerts.ts';
import { Activations } from './activation/activations.ts';
import { Audit } from './audit/audit.ts';
import { Configurations, configurationOf } from './configuration/configurations.ts';
import type { ConfigurationDelivery } from './configuration/delivery.ts';
import type { ServiceContext } from './context.ts';
import { ExportControl, type Asker } from './exportcontrol/export-control.ts';
import { Sharing } from './exportcontrol/sharing.ts';
import { Accounts } from './identity/accounts.ts';
import { Gateways, type GatewayRecord } from './identity/gateways.ts';
import { SignatureCheck } from './identity/signature-check.ts';

type Answers = {
  readonly [N in MessageName]: (input: MessageInput<N>, signal: AbortSignal) => Promise<MessageResult<N>>;
};

/** What a connection brings: a gateway says who it is in each message, an operator is known already. */
type Role = 'gateway' | 'operator';

const OPERATOR_MESSAGES: ReadonlySet<MessageName> = new Set<MessageName>([
  'activation.describe',
  'activation.claim',
  'gateway.remove',
  'gateway.settings',
  'alert.set',
  'alert.list',
  'alert.remove',
  'account.create',
  'account.list',
  'account.find',
  'account.begin',
  'export.judge',
  'export.survey',
]);

export interface ServiceOptions {
  /** How configurations get to gateways; null or absent: they ask for them. */
  readonly delivery?: ConfigurationDelivery | null;
  /** Absent where no service runs that could tell anybody anything. */
  readonly alerts?: Alerts;
}

/** Opens a service over a store for the process that holds both. Opening reads nothing. */
export function openService(context: ServiceContext, options: ServiceOptions = {}): ServiceConnections {
  const answers = answersOf(context, options);
  const connection = (role: Role): ServiceConnections['gateway'] =>
    inMemoryTransport(async (name, input, { signal }) => {
      if (OPERATOR_MESSAGES.has(name) !== (role === 'operator')) throw refused(name, role);
      return await answers[name](input, signal);
    });
  return { serviceId: context.serviceId, gateway: connection('gateway'), operator: connection('operator') };
}

function answersOf(context: ServiceContext, { delivery = null, alerts }: ServiceOptions): Answers {
  const signatures = new SignatureCheck(context);
  const accounts = new Accounts(context);
  const gateways = new Gateways(context, signatures);
  const activations = new Activations({ context, accounts, gateways, signatures });
  const configurations = new Configurations({ context, gateways, delivery });
  const audit = new Audit(context);
  const exports = new ExportControl(context, audit);
  const sharing = new Sharing(context, accounts, audit);
  const asker = async (
    name: SignedMessageName,
    request: Signed<{ readonly accountId: string }>,
    signal: AbortSignal,
  ): Promise<Asker> => {
    const gateway = await gateways.requireActive(name, request, signal);
    const { accountId } = request.body;
    if (accountId !== gateway.accountId) {
      requireEmbedded(context, gateway, accountId);
      await accounts.find(accountId, signal);
    }
    return { gatewayId: gateway.gatewayId, accountId };
  };
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
    'gateway.configuration': async (input, signal) => {
      const gateway = await gateways.requireActive('gateway.configuration', input, signal);
      return configurationOf(gateway);
    },
    'gateway.settings': async ({ gatewayId }, signal) => await configurations.standing(gatewayId, signal),
    'gateway.request-configuration': async (input, signal) => {
      const { gatewayId } = await gateways.requireActive('gateway.request-configuration', input, signal);
      return await configurations.request(gatewayId, input.body.changes, signal);
    },
    'gateway.acknowledge': async (input, signal) => {
      const { gatewayId } = await gateways.requireActive('gateway.acknowledge', input, signal);
      await configurations.acknowledge(gatewayId, input.body, signal);
      return {};
    },
    'gateway.deregister': async (input, signal) => {
      const { gatewayId } = await gateways.authenticate('gateway.deregister', input, signal);
      await gateways.deregister(gatewayId, signal);
      return {};
    },
    'gateway.remove': async ({ gatewayId }, signal) => {
      if ((await gateways.find(gatewayId, signal)) !== undefined) await gateways.deregister(gatewayId, signal);
      return {};
    },
    'export.decide': async (input, signal) =>
      await exports.decide(await asker('export.decide', input, signal), input.body, signal),
    'export.list': async (input, signal) => ({
      exportable: await exports.list(await asker('export.list', input, signal), input.body.snapshotIds, signal),
    }),
    'export.assess': async (input, signal) => {
      const { accountId } = await asker('export.assess', input, signal);
      return await exports.assess(accountId, input.body.snapshotId, signal);
    },
    'export.judge': async ({ accountId, snapshotId }, signal) => await exports.judge(accountId, snapshotId, signal),
    'export.survey': async ({ accountId, snapshotIds }, signal) => await exports.survey(accountId, snapshotIds, signal),
    'snapshot.share': async (input, signal) =>
      await sharing.share(await asker('snapshot.share', input, signal), input.body, signal),
    'snapshot.unshare': async (input, signal) =>
      await sharing.unshare(await asker('snapshot.unshare', input, signal), input.body, signal),
    'account.create': async (input, signal) => await accounts.create(input, signal),
    'account.list': async (_input, signal) => ({ accounts: await accounts.list(signal) }),
    'account.find': async ({ accountId }, signal) => await accounts.find(accountId, signal),
    'alert.set': async ({ accountId, ...wish }, signal) => await watched(alerts).set(accountId, wish, signal),
    'alert.list': async ({ accountId }, signal) => ({ alerts: await watched(alerts).list(accountId, signal) }),
    'alert.remove': async ({ accountId, name }, signal) => ({
      removed: await watched(alerts).remove(accountId, name, signal),
    }),
    'account.begin': async ({ accountId, isKnown }, signal) => await accounts.begin(accountId, isKnown, signal),
  };
}

/** @throws unsupported `alerts-need-service` */
function watched(alerts: Alerts | undefined): Alerts {
  if (alerts !== undefined) return alerts;
  throw new SgwError('unsupported', 'alerts-need-service', 'alerts need a service that watches the gateways', {
    hint: 'Run one (sgw service run), activate the gateway at it (sgw activate --service URL), and give --service URL here.',
  });
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

function refused(name: string, role: Role): SgwError {
  return new SgwError('denied', 'message-refused', `${name.slice(0, 64)} is not for a ${role} to send`);
}
