/** Types of the published client, as they are once a request was held against the model. */

/** What the model requires is there, however deep. */
export type Checked<T> = T extends readonly (infer U)[]
  ? readonly Checked<U>[]
  : T extends object
    ? { readonly [K in keyof T]: object extends Pick<T, K> ? Checked<T[K]> : Checked<NonNullable<T[K]>> }
    : T;
