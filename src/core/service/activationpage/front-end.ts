/**
 * `/activate`: a customer claims a gateway in a browser (S5). The device's own page leads here, with the key.
 *
 *   GET                a form: activation key, access key, name and mode
 *   POST step=look     who asks is checked; what the device told of itself is shown
 *   POST step=claim    the confirmation is taken, and the gateway is claimed
 *
 * Nothing is kept between the two: no session and no cookie, so that no other page can act for somebody who was here. What the
 * second needs of the first is sealed (confirmation.ts). The page claims for the account of the access key alone.
 */
import { createHash } from 'node:crypto';
import type { FastifyInstance, FastifyReply } from 'fastify';
import { ERROR_KINDS, SgwError, toSgwError } from '../../kit/index.ts';
import { canonicalJson, type MessageResult } from '../../protocol/index.ts';
import type { User } from '../identity/principal.ts';
import type { FrontEnd, ServerParts } from '../server/front-end.ts';
import { confirmationWrong, readConfirmation, sealConfirmation } from './confirmation.ts';
import { claimedPage, describedPage, formPage, PAGE_HEADERS, type Asked } from './html.ts';

const PATH = '/activate';
const FORM_BYTES_MAX = 8192;
const DEADLINE_MS = 30_000;
const CONFIRMATION_MS = 5 * 60_000;
const PURPOSE = 'sgw-activation-page-1';

type Parts = Pick<ServerParts, 'context' | 'keys' | 'messages' | 'region' | 'log'> & {
  readonly serviceKey: Pick<ServerParts['serviceKey'], 'derive'>;
};
type Device = MessageResult<'activation.describe'>;

export function activationPage(parts: Parts): FrontEnd {
  return {
    name: 'activation-page',
    listener: 'api',
    add: (app) => {
      addRoutes(app, new ActivationPage(parts));
    },
  };
}

/** As APIs of AWS name them. */
const MODES: Readonly<Record<string, Asked['mode']>> = { CACHED: 'cached', STORED: 'shadowing' };

interface Answer {
  readonly status: number;
  readonly html: string;
}

function addRoutes(app: FastifyInstance, page: ActivationPage): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, (_request, body, done) => {
    done(null, new URLSearchParams(body.toString()));
  });
  const send = async (reply: FastifyReply, { status, html }: Answer): Promise<FastifyReply> =>
    await reply.code(status).headers(PAGE_HEADERS).send(html);
  app.get(
    PATH,
    async (request, reply) => await send(reply, page.form(new URL(request.url, 'https://here').searchParams)),
  );
  app.post(PATH, { bodyLimit: FORM_BYTES_MAX }, async (request, reply) => {
    const form = request.body instanceof URLSearchParams ? request.body : new URLSearchParams();
    return await send(reply, await page.submit(form, AbortSignal.timeout(DEADLINE_MS)));
  });
}

class ActivationPage {
  readonly #parts: Parts;
  readonly #key: Buffer;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#key = parts.serviceKey.derive(PURPOSE);
  }

  form(query: URLSearchParams): Answer {
    const mode = MODES[query.get('gatewayType') ?? ''] ?? '';
    return {
      status: 200,
      html: formPage({ activationKey: text(query, 'activationKey'), accessKeyId: '', name: '', mode }),
    };
  }

  async submit(form: URLSearchParams, signal: AbortSignal): Promise<Answer> {
    try {
      const html = form.get('step') === 'claim' ? await this.#claim(form, signal) : await this.#look(form, signal);
      return { status: 200, html };
    } catch (error) {
      const failure = toSgwError(error);
      if (failure.kind === 'internal') {
        this.#parts.log.error({ err: failure }, 'the activation page found a bug');
        const told = new SgwError('internal', 'internal', 'the service has a bug; its log tells more');
        return { status: 500, html: formPage(askedIn(form), told) };
      }
      return { status: ERROR_KINDS[failure.kind].httpStatus, html: formPage(askedIn(form), failure) };
    }
  }

  async #look(form: URLSearchParams, signal: AbortSignal): Promise<string> {
    const asked = askedIn(form);
    const { activationKey } = asked;
    const user = await this.#parts.keys.checkSecret(asked.accessKeyId, text(form, 'secretAccessKey'), signal);
    const device = await this.#parts.messages.asUser(user, 'activation.describe', { activationKey }, signal);
    const { accountId, accessKeyId } = user;
    const expiresAtMs = this.#nowMs() + CONFIRMATION_MS;
    const described = digestOf(device);
    const confirmation = { accountId, accessKeyId, activationKey, described, expiresAtMs };
    const name = asked.name === '' ? (device.metadata['name'] ?? '') : asked.name;
    const mode = modeOf(asked, device);
    return describedPage(device, { name, mode, accountId }, sealConfirmation(this.#key, confirmation));
  }

  async #claim(form: URLSearchParams, signal: AbortSignal): Promise<string> {
    const confirmation = readConfirmation(this.#key, text(form, 'confirmation'), this.#nowMs());
    const { accountId, accessKeyId, activationKey } = confirmation;
    const key = await this.#parts.keys.find(accessKeyId, signal);
    if (key?.revokedAt !== null) throw confirmationWrong();
    // Not as root, whoever it is: the page is for one's own account.
    const user: User = { kind: 'user', accountId, accessKeyId, isRoot: false };
    const device = await this.#parts.messages.asUser(user, 'activation.describe', { activationKey }, signal);
    if (digestOf(device) !== confirmation.described) throw confirmationWrong();
    const asked = askedIn(form);
    const { name } = asked;
    const mode = modeOf(asked, device);
    const gatewayName = name === '' ? (device.metadata['name'] ?? '') : name;
    const confirm = form.get('confirm') === 'yes';
    const region = this.#parts.region;
    const claim = { activationKey, gatewayName, accountId, mode, region, gatewayId: null, confirm };
    const { gatewayId } = await this.#parts.messages.asUser(user, 'activation.claim', claim, signal);
    return claimedPage(gatewayId, gatewayName);
  }

  #nowMs(): number {
    return this.#parts.context.blocks.clock.nowMs();
  }
}

/** Another key pair, or other metadata, is another device. */
const digestOf = ({ metadata, keyFingerprint }: Device): string =>
  createHash('sha256').update(canonicalJson({ metadata, keyFingerprint }), 'utf8').digest('hex');

const modeOf = ({ mode }: Asked, { metadata }: Device): 'cached' | 'shadowing' =>
  mode === '' ? (metadata['mode'] === 'shadowing' ? 'shadowing' : 'cached') : mode;

/** What was typed, for the form that comes back; never the secret. */
const askedIn = (form: URLSearchParams): Asked => ({
  activationKey: text(form, 'activationKey'),
  accessKeyId: text(form, 'accessKeyId'),
  name: text(form, 'name'),
  mode: MODE_NAMES.find((mode) => mode === form.get('mode')) ?? '',
});

const MODE_NAMES = ['cached', 'shadowing'] as const;

const TEXT_MAX = 256;
const CONFIRMATION_MAX = 2048;

function text(form: URLSearchParams, name: string): string {
  const value = form.get(name) ?? '';
  return value.length <= (name === 'confirmation' ? CONFIRMATION_MAX : TEXT_MAX) ? value : '';
}
