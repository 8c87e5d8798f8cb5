/**
 * The service in the embedded form: takes messages, finds out who sent them, and hands them to the part that answers. All
 * its state is in the store, so that any number of services may run over one, and one may end at any moment.
 */
import { SgwError } from '../kit/index.ts';
import { inMemoryTransport, type MessageName, type ServiceConnections } from '../protocol/index.ts';
import { answersOf, servicePartsOf } from './answers.ts';
import type { ServiceContext } from './context.ts';

/** What a connection brings: a gateway says who it is in each message, an operator is known already. */
type Role = 'gateway' | 'operator';

const OPERATOR_MESSAGES: ReadonlySet<MessageName> = new Set<MessageName>([
  'activation.describe',
  'activation.claim',
  'gateway.remove',
  'gateway.list',
  'gateway.find',
  'gateway.configure',
  'gateway.settings',
  'alert.set',
  'alert.list',
  'alert.remove',
  'key.create',
  'key.list',
  'key.revoke',
  'account.create',
  'account.list',
  'account.find',
  'account.quotas',
  'account.limit',
  'account.begin',
  'export.judge',
  'export.survey',
]);

/** Opens a service over a store for the process that holds both. Opening reads nothing. */
export function openService(context: ServiceContext): ServiceConnections {
  const answers = answersOf(servicePartsOf(context));
  const connection = (role: Role): ServiceConnections['gateway'] =>
    inMemoryTransport(async (name, input, { signal }) => {
      if (OPERATOR_MESSAGES.has(name) !== (role === 'operator')) throw refused(name, role);
      return await answers[name](input, signal);
    });
  return { serviceId: context.serviceId, gateway: connection('gateway'), operator: connection('operator') };
}

function refused(name: string, role: Role): SgwError {
  return new SgwError('denied', 'message-refused', `${name.slice(0, 64)} is not for a ${role} to send`);
}
