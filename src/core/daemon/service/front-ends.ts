/** Which APIs a server of the service has, and what they are made of. */
import type { FastifyRequest } from 'fastify';
import type { MessageResult } from '../../protocol/index.ts';
import type { ControlPlane } from '../../service/controlplane/index.ts';
import { controlFrontEnds } from './control.ts';
import {
  authorityPage,
  customerMessages,
  gatewayMessages,
  NetworkMessages,
  type FrontEnd,
  type NetworkService,
  type ServerParts,
} from '../../service/server/index.ts';

export interface Composition {
  readonly service: NetworkService;
  readonly about: () => MessageResult<'service.describe'>;
  /** Undefined while it starts. */
  readonly plane: () => ControlPlane | undefined;
  readonly gatewayOf: (request: FastifyRequest) => ReturnType<ServerParts['gatewayOf']>;
}

export function composeFrontEnds({ service, about, plane, gatewayOf }: Composition): FrontEnd[] {
  const { keys, authority, authenticator } = service;
  const messages = new NetworkMessages(service, { keys, authority, about });
  return [
    authorityPage(authority.certificate),
    customerMessages(messages, authenticator),
    gatewayMessages(messages, gatewayOf),
    ...controlFrontEnds(plane, service, gatewayOf),
  ];
}
