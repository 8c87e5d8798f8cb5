/** Which APIs a server of the service has, and what they are made of. */
import type { FastifyRequest } from 'fastify';
import type { Logger } from '../../kit/index.ts';
import type { MessageResult } from '../../protocol/index.ts';
import { activationPage } from '../../service/activationpage/index.ts';
import { ebsFrontEnd, storageGatewayApi } from '../../service/aws/index.ts';
import { blockApi } from '../../service/blockapi/index.ts';
import type { ControlPlane } from '../../service/controlplane/index.ts';
import {
  authorityPage,
  customerMessages,
  gatewayMessages,
  NetworkMessages,
  type FrontEnd,
  type NetworkService,
  type ServerParts,
  type ServiceKey,
} from '../../service/server/index.ts';
import { dataEndpoint } from '../../service/dataendpoint/index.ts';
import { controlFrontEnds, lateCalls } from './control.ts';

export interface Composition {
  readonly service: NetworkService;
  readonly serviceKey: ServiceKey;
  readonly region: string;
  readonly version: string;
  readonly log: Logger;
  readonly about: () => MessageResult<'service.describe'>;
  /** Undefined while it starts. */
  readonly plane: () => ControlPlane | undefined;
  readonly gatewayOf: (request: FastifyRequest) => ReturnType<ServerParts['gatewayOf']>;
}

export function composeFrontEnds(composition: Composition): FrontEnd[] {
  const { service, about, plane, gatewayOf, serviceKey, region, version, log } = composition;
  const { keys, authority, alerts, authenticator } = service;
  const messages = new NetworkMessages(service, { keys, authority, alerts, about });
  const parts: ServerParts = {
    ...service,
    ...{ messages, serviceKey, region, version, log, gatewayOf },
    calls: lateCalls(plane),
  };
  return [
    authorityPage(authority.certificate),
    customerMessages(messages, authenticator),
    gatewayMessages(messages, gatewayOf),
    ...controlFrontEnds(plane, service, gatewayOf),
    activationPage(parts),
    dataEndpoint({
      parts,
      principalOf: gatewayOf,
      // Best effort, and never fails: who was taken over learns it at its next request anyway (C6).
      onFenced: ({ volumeId, oldHolder, newHolder, epoch }) => {
        void plane()?.tellFenced({
          ...{ volumeId, epoch },
          ...{ oldHolder: oldHolder.gatewayId, newHolder: newHolder.gatewayId },
        });
      },
    }),
    ebsFrontEnd(parts),
    blockApi(parts),
    storageGatewayApi(parts),
  ];
}
