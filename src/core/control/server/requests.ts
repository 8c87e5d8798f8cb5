/** What may come over the socket: shapes and bounds. What an input means is checked by the handlers. */
import Type from 'typebox';

/** Inputs are names, tags and paths. */
export const BODY_BYTES_MAX = 1 << 20;
/** The longest that a timer holds. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1;
/** More than any secret has. */
const SECRET_CHARACTERS_MAX = 8192;

const SecretText = Type.String({ maxLength: SECRET_CHARACTERS_MAX });
const closed = { additionalProperties: false } as const;

export const CallBody = Type.Object(
  {
    input: Type.Object({}, { additionalProperties: true }),
    accountId: Type.Optional(Type.String({ pattern: '^[0-9]{12}$' })),
    lockTimeoutMs: Type.Integer({ minimum: 0, maximum: TIMEOUT_MS_MAX }),
    secrets: Type.Array(Type.Union([Type.Literal('unlock'), Type.Literal('renew')]), { maxItems: 2 }),
  },
  closed,
);

export const AnswerBody = Type.Union([
  Type.Object(
    {
      secret: Type.Union([
        Type.Object({ keyFile: SecretText }, closed),
        Type.Object({ passphrase: SecretText }, closed),
        Type.Object({ recoveryCode: SecretText }, closed),
      ]),
    },
    closed,
  ),
  Type.Object(
    {
      error: Type.Object(
        {
          code: Type.String(),
          kind: Type.String(),
          message: Type.String(),
          hint: Type.Union([Type.String(), Type.Null()]),
          details: Type.Object({}, { additionalProperties: true }),
          retryable: Type.Boolean(),
        },
        closed,
      ),
    },
    closed,
  ),
]);
