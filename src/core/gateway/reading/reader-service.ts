/**
 * The service as one has it who only reads a store: no gateway signs for him, so he asks as the operator of what he has
 * before him, and nothing is recorded. Export control judges him all the same (S7).
 */
import { SgwError } from '../../kit/index.ts';
import type { CallContext } from '../../localapi/index.ts';
import type {
  MessageInput,
  MessageResult,
  ServiceConnections,
  SignedBody,
  SignedMessageName,
} from '../../protocol/index.ts';
import type { OperatorMessageName, Service } from '../service-access.ts';

type Call = Pick<CallContext, 'signal'>;
type Answers = {
  readonly [N in SignedMessageName]?: (body: SignedBody<N>, call: Call) => Promise<MessageResult<N>>;
};

export class ReaderService implements Service {
  readonly #connections: () => Promise<ServiceConnections>;
  readonly #answers: Answers;

  constructor(connections: () => Promise<ServiceConnections>) {
    this.#connections = connections;
    this.#answers = {
      'export.decide': async ({ accountId, snapshotId }, call) =>
        this.operate('export.judge', { accountId, snapshotId }, call),
      'export.list': async (body, call) => {
        const { rights } = await this.operate('export.survey', body, call);
        return { exportable: rights.filter(({ exportable }) => exportable).map(({ snapshotId }) => snapshotId) };
      },
      'export.assess': async ({ accountId, snapshotId }, call) => {
        const { rights } = await this.operate('export.survey', { accountId, snapshotIds: [snapshotId] }, call);
        return rights[0] ?? { exportable: false, grants: [] };
      },
    };
  }

  /** @throws unsupported `needs-gateway` for what only a gateway may ask */
  async ask<N extends SignedMessageName>(name: N, body: SignedBody<N>, call: Call): Promise<MessageResult<N>> {
    const answer = this.#answers[name] as ((body: SignedBody<N>, call: Call) => Promise<MessageResult<N>>) | undefined;
    if (answer === undefined) throw needsGateway(name.replace('.', ' '));
    return await answer(body, call);
  }

  async operate<N extends OperatorMessageName>(name: N, input: MessageInput<N>, call: Call): Promise<MessageResult<N>> {
    return await (await this.#connections()).operator.request(name, input, { signal: call.signal });
  }
}

/** What a store alone does not give. */
export function needsGateway(what: string): SgwError {
  return new SgwError('unsupported', 'needs-gateway', `${what} needs a gateway, and --store only reads a store`, {
    hint: 'Activate a gateway over the store, in a home of its own: sgw activate --store PLACE --home DIR. Then leave --store out.',
  });
}
