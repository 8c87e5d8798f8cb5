/** The page as HTML: forms without scripts. All that comes from outside is escaped. */
import { createHash } from 'node:crypto';
import { escapedHtml, type SgwError } from '../../kit/index.ts';
import type { ActivationMetadata } from '../../protocol/index.ts';

const STYLE =
  'body{font:16px/1.5 sans-serif;margin:3em auto;max-width:44em;padding:0 1em}' +
  'label{display:block;margin:.8em 0 .1em}input,select,button{font:inherit;padding:.3em;box-sizing:border-box}' +
  'input:not([type=checkbox]),select{width:100%}th{text-align:left;padding-right:1em;font-weight:normal;vertical-align:top}' +
  'button{margin-top:1.2em}.no{border-left:4px solid #b00;padding-left:1em}code{word-break:break-all}';

/** No scripts, nothing of others, in no frame, kept by nobody. */
export const PAGE_HEADERS = {
  'content-type': 'text/html; charset=utf-8',
  'cache-control': 'no-store',
  'content-security-policy':
    `default-src 'none'; style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'; ` +
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'cross-origin-opener-policy': 'same-origin',
} as const;

export interface Asked {
  readonly activationKey: string;
  readonly accessKeyId: string;
  readonly name: string;
  /** Empty: the one that it proposes. */
  readonly mode: GatewayMode | '';
}

type GatewayMode = 'cached' | 'shadowing';

/** The first form; with a failure, that first. */
export function formPage({ activationKey, accessKeyId, name, mode }: Asked, failure?: SgwError): string {
  return page(
    'Claim a gateway',
    `${failureText(failure)}<p>The gateway shows its activation key. It will belong to the account of your access key.</p>
<form method="post" action="/activate" autocomplete="off">
<input type="hidden" name="step" value="look">
${field('Activation key', 'activationKey', activationKey, 'required maxlength="64"')}
${field('Access key id', 'accessKeyId', accessKeyId, 'required maxlength="128" autocomplete="username"')}
${field('Secret of the access key', 'secretAccessKey', '', 'required maxlength="128" type="password" autocomplete="current-password"')}
${field('Name of the gateway (empty: the one that it proposes)', 'name', name, 'maxlength="128"')}
<label for="mode">Mode, which stays</label>
<select id="mode" name="mode">${option('', mode, 'the one that it proposes')}${option('cached', mode)}${option('shadowing', mode)}</select>
<button type="submit">Look at the gateway</button>
</form>`,
  );
}

export interface Described {
  readonly metadata: ActivationMetadata;
  readonly keyFingerprint: string;
  readonly expiresAt: string;
}

/** What the device told of itself, to be compared with the device. */
export function describedPage(
  device: Described,
  asked: { readonly name: string; readonly mode: GatewayMode; readonly accountId: string },
  confirmation: string,
): string {
  const rows = [
    ...Object.entries(device.metadata),
    ['fingerprint of its public key', device.keyFingerprint],
    ['activation key good until', device.expiresAt],
  ];
  return page(
    'Is this your gateway?',
    `<p>The gateway that waits under this key says of itself:</p>
<table>
${rows.map(([name = '', value = '']) => row(name, value)).join('\n')}
</table>
<p>Compare this with what the gateway shows. If it is another one, somebody else's key was given to you: leave this page.</p>
<table>
${row('it will be', asked.name)}
${row('in mode', asked.mode)}
${row('of account', asked.accountId)}
</table>
<form method="post" action="/activate" autocomplete="off">
<input type="hidden" name="step" value="claim">
<input type="hidden" name="confirmation" value="${escapedHtml(confirmation)}">
<input type="hidden" name="name" value="${escapedHtml(asked.name)}">
<input type="hidden" name="mode" value="${escapedHtml(asked.mode)}">
<label><input type="checkbox" name="confirm" value="yes" required> This is my gateway, and it shows the same.</label>
<button type="submit">Claim it</button>
</form>`,
  );
}

export function claimedPage(gatewayId: string, name: string): string {
  return page(
    'The gateway is yours',
    `<p>${escapedHtml(name)} is gateway <code>${escapedHtml(gatewayId)}</code> of your account. It goes on by itself within a few seconds.</p>`,
  );
}

const failureText = (failure: SgwError | undefined): string => {
  if (failure === undefined) return '';
  const hint = failure.hint === undefined ? '' : ` ${escapedHtml(failure.hint)}`;
  return `<p class="no" role="alert">${escapedHtml(failure.message)} <small>[${escapedHtml(failure.code)}]</small>.${hint}</p>`;
};

const row = (name: string, value: string): string =>
  `<tr><th scope="row">${escapedHtml(name)}</th><td><code>${escapedHtml(value)}</code></td></tr>`;

const field = (label: string, name: string, value: string, attributes: string): string =>
  `<label for="${name}">${escapedHtml(label)}</label>\n<input id="${name}" name="${name}" value="${escapedHtml(value)}" spellcheck="false" ${attributes}>`;

const option = (value: string, chosen: string, label = value): string =>
  `<option value="${value}"${value === chosen ? ' selected' : ''}>${label}</option>`;

const page = (title: string, body: string): string => `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>sgw: ${escapedHtml(title)}</title>
<style>${STYLE}</style></head>
<body>
<h1>${escapedHtml(title)}</h1>
${body}
</body>
</html>
`;
