/** Which APIs a server of the service has, and what they are made of. */
import type { FastifyRequest } from 'fastify';
import type { MessageResult } from '../../protocol/index.ts';
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
  readonly gatewayOf: (request: FastifyRequest) => ReturnType<ServerParts['gatewayOf']>;
}

export function composeFrontEnds({ service, about, gatewayOf }: Composition): FrontEnd[] {
  const { keys, authority, authenticator } = service;
  const messages = new NetworkMessages(service, { keys, authority, about });
  return [
    authorityPage(authority.certificate),
    customerMessages(messages, authenticator),
    gatewayMessages(messages, gatewayOf),
  ];
}
