/** The verbs of topic `alert`: the service watches the gateways of an account, and tells a webhook. */
import { SgwError, toSgwError } from '../../kit/index.ts';
import type { AlertList, AlertRemoved, AlertSet } from '../../localapi/index.ts';
import type { ServiceClient } from '../../serviceclient/index.ts';
import type { Session } from '../session.ts';
import { accountOf, asking, findGateway } from './calls.ts';

export type AlertThresholds = AlertSet['thresholds'];

export interface AlertWish {
  readonly name: string;
  /** Id or name; undefined: all gateways of the account. */
  readonly gateway: string | undefined;
  readonly thresholds: AlertThresholds;
  readonly webhookUrl: string;
  readonly repeatMs: number | null;
  readonly secret: string | null;
}

/** Makes an alert, or replaces the one of that name. @throws unsupported `alerts-need-service`; what the service refuses with */
export async function setAlert(session: Session, wish: AlertWish): Promise<AlertSet> {
  return await askingService(session, async (client) => {
    const { gateway, ...rest } = wish;
    const accountId = await accountOf(session, client);
    const gatewayId = gateway === undefined ? null : (await findGateway(session, client, gateway)).gatewayId;
    const made = await client.request('alert.set', { ...rest, accountId, gatewayId }, session);
    return { ...made, firing: firingOf(made) };
  });
}

/** All of the account, or the one of that name. @throws notFound `alert-not-found`; as `setAlert` */
export async function showAlerts(session: Session, name: string | undefined): Promise<AlertList> {
  return await askingService(session, async (client) => {
    const accountId = await accountOf(session, client);
    const { alerts } = await client.request('alert.list', { accountId }, session);
    const shown = name === undefined ? alerts : alerts.filter((alert) => alert.name === name);
    if (name !== undefined && shown.length === 0) throw notFound(name);
    return { alerts: shown.map((alert) => ({ ...alert, firing: firingOf(alert) })) };
  });
}

/** @throws notFound `alert-not-found` unless `ifExists`; as `setAlert` */
export async function removeAlert(session: Session, name: string, ifExists: boolean): Promise<AlertRemoved> {
  return await askingService(session, async (client) => {
    const accountId = await accountOf(session, client);
    const { removed } = await client.request('alert.remove', { accountId, name }, session);
    if (!removed && !ifExists) throw notFound(name);
    return { name, removed };
  });
}

type Firing = AlertSet['firing'];
interface Told {
  readonly firing: readonly (Omit<Firing[number], 'subjects'> & { readonly subjects: readonly string[] })[];
}

const firingOf = ({ firing }: Told): Firing => firing.map((each) => ({ ...each, subjects: [...each.subjects] }));

/** Where no service was named, there is nobody who could watch. */
async function askingService<T>(session: Session, work: (client: ServiceClient) => Promise<T>): Promise<T> {
  try {
    return await asking(session, work);
  } catch (error) {
    if (toSgwError(error).code !== 'service-missing') throw error;
    throw new SgwError('unsupported', 'alerts-need-service', 'alerts need a service that watches the gateways', {
      hint:
        'Name it: --service URL. A gateway with its service in it can not tell that it is gone; ' +
        'one that was activated at a service (sgw activate --service URL) is watched there.',
    });
  }
}

const notFound = (name: string): SgwError =>
  new SgwError('notFound', 'alert-not-found', `alert "${name}" does not exist`, {
    hint: 'sgw alert show lists those that there are.',
    details: { name },
  });
