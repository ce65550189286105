//! The client side of libsasl2: one connection object, with the rules of the module above.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_ulong, c_void};
use std::ptr;
use std::sync::OnceLock;

use sasl2_sys::sasl::*;

use super::{
    Failure, LAYER_BUFFER, bytes, length, mutex_free, mutex_lock, mutex_new, mutex_unlock, owned, text_of,
};

/// What a mechanism may ask of the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sasl) enum Question {
    /// Whom to act as.
    User,
    /// Whose credentials follow.
    AuthenticateAs,
    /// His password.
    Password,
    /// The realm that the credentials are of.
    Realm,
}

/// One client-side connection object of the library.
pub(in crate::sasl) struct ClientConnection {
    raw: *mut sasl_conn_t,
    /// Answers that the library has pointers to.
    answers: Vec<CString>,
    /// Given to the library for as long as `raw` lives.
    _callbacks: Box<[sasl_callback_t]>,
}

// SAFETY: the library ties a connection object to no thread, only forbids its use by two at once; every method that
// touches it takes `&mut self`. The answers and the table are owned, and nobody else points to them.
unsafe impl Send for ClientConnection {}

/// What a turn gave.
pub(in crate::sasl) struct ClientOutcome {
    /// What to send; `None` is no response at all, which differs from an empty one.
    pub(in crate::sasl) response: Option<Vec<u8>>,
    /// Whether the client is satisfied.
    pub(in crate::sasl) done: bool,
}

/// Initialises the client side, once in a process.
fn init() -> Result<(), Failure> {
    static RESULT: OnceLock<c_int> = OnceLock::new();
    let code = *RESULT.get_or_init(|| {
        // SAFETY: the four functions form a mutex, the same that the server side uses: setting them again changes nothing.
        // No table of callbacks is passed.
        unsafe {
            sasl_set_mutex(
                Some(mutex_new),
                Some(mutex_lock),
                Some(mutex_unlock),
                Some(mutex_free),
            );
            sasl_client_init(ptr::null())
        }
    });
    match code {
        SASL_OK => Ok(()),
        code => Err(Failure {
            code,
            detail: text_of(code),
        }),
    }
}

impl ClientConnection {
    /// For a service of a server.
    pub(in crate::sasl) fn new(service: &CStr, server: &CStr) -> Result<Self, Failure> {
        init()?;
        let asked = |id| sasl_callback_t {
            id,
            proc_: None,
            context: ptr::null_mut(),
        };
        // Without procedures, the library asks by interactions.
        let callbacks: Box<[sasl_callback_t]> = Box::new(
            [
                SASL_CB_USER,
                SASL_CB_AUTHNAME,
                SASL_CB_PASS,
                SASL_CB_GETREALM,
                SASL_CB_LIST_END,
            ]
            .map(asked),
        );
        let mut raw = ptr::null_mut();
        // SAFETY: the texts live through the call, and the library copies them; the table outlives `raw`, because the new
        // value holds it and `Drop` disposes of `raw` first.
        let code = unsafe {
            sasl_client_new(
                service.as_ptr(),
                server.as_ptr(),
                ptr::null(),
                ptr::null(),
                callbacks.as_ptr(),
                SASL_SUCCESS_DATA,
                &raw mut raw,
            )
        };
        if code != SASL_OK || raw.is_null() {
            return Err(Failure {
                code,
                detail: text_of(code),
            });
        }
        Ok(Self {
            raw,
            answers: Vec::new(),
            _callbacks: callbacks,
        })
    }

    /// The weakest and the strongest layer, and the strength of the protection that exists already.
    pub(in crate::sasl) fn set_security(
        &mut self,
        min_ssf: c_uint,
        max_ssf: c_uint,
        external: c_uint,
    ) -> Result<(), Failure> {
        let properties = sasl_security_properties_t {
            min_ssf,
            max_ssf,
            maxbufsize: LAYER_BUFFER,
            security_flags: SASL_SEC_NOANONYMOUS,
            property_names: ptr::null_mut(),
            property_values: ptr::null_mut(),
        };
        // SAFETY (both): `raw` is live, each value is of the type that its property stands for, and the library copies it.
        let code = unsafe { sasl_setprop(self.raw, SASL_SEC_PROPS as c_int, (&raw const properties).cast()) };
        self.check(code)?;
        // SAFETY: see above.
        let code =
            unsafe { sasl_setprop(self.raw, SASL_SSF_EXTERNAL as c_int, (&raw const external).cast()) };
        self.check(code)
    }

    /// Begins with the best of the mechanisms, which are separated by spaces; also returns which it is.
    pub(in crate::sasl) fn start(
        &mut self,
        mechanisms: &CStr,
        answer: &mut dyn FnMut(Question) -> Option<CString>,
    ) -> Result<(ClientOutcome, String), Failure> {
        // The answers go back with the next call, in the library's own array.
        let mut prompts = ptr::null_mut();
        // Told once: the name is the plug-in's own, and lives as long as that.
        let mut chosen = ptr::null();
        loop {
            let (mut out, mut out_len) = (ptr::null(), 0);
            // SAFETY: `raw` is live; the list lives through the call; the outputs are ours.
            let code = unsafe {
                sasl_client_start(
                    self.raw,
                    mechanisms.as_ptr(),
                    &raw mut prompts,
                    &raw mut out,
                    &raw mut out_len,
                    &raw mut chosen,
                )
            };
            if code == SASL_INTERACT {
                // SAFETY: the library just set `prompts`.
                unsafe { self.answer(prompts, answer)? };
                continue;
            }
            // SAFETY: the library just set the outputs, and nothing was called since; the name is null or a constant.
            let (outcome, name) = unsafe { (self.outcome(code, out, out_len)?, owned(chosen)) };
            return Ok((outcome, name.unwrap_or_default()));
        }
    }

    /// Goes on with what the server sent.
    pub(in crate::sasl) fn step(
        &mut self,
        challenge: &[u8],
        answer: &mut dyn FnMut(Question) -> Option<CString>,
    ) -> Result<ClientOutcome, Failure> {
        let mut prompts = ptr::null_mut();
        loop {
            let (mut out, mut out_len) = (ptr::null(), 0);
            // SAFETY: `raw` is live; the input lives through the call; the outputs are ours.
            let code = unsafe {
                sasl_client_step(
                    self.raw,
                    challenge.as_ptr().cast(),
                    length(challenge)?,
                    &raw mut prompts,
                    &raw mut out,
                    &raw mut out_len,
                )
            };
            if code == SASL_INTERACT {
                // SAFETY: the library just set `prompts`.
                unsafe { self.answer(prompts, answer)? };
                continue;
            }
            // SAFETY: the library just set the outputs, and nothing was called since.
            return unsafe { self.outcome(code, out, out_len) };
        }
    }

    /// Answers what the library asks.
    ///
    /// # Safety
    /// `prompts` is what the library's last call on this connection returned with `SASL_INTERACT`.
    unsafe fn answer(
        &mut self,
        prompts: *mut sasl_interact_t,
        answer: &mut dyn FnMut(Question) -> Option<CString>,
    ) -> Result<(), Failure> {
        let mut at = prompts;
        // SAFETY (the whole loop): by this function's contract, `prompts` is null or an array of the library's that ends with
        // SASL_CB_LIST_END and that nobody else uses until the next call. The answers live in `self.answers`, whose texts do
        // not move when the vector grows, until the connection is dropped.
        while let Some(prompt) = unsafe { at.as_mut() } {
            let question = match prompt.id {
                SASL_CB_LIST_END => return Ok(()),
                SASL_CB_USER => Question::User,
                SASL_CB_AUTHNAME => Question::AuthenticateAs,
                SASL_CB_PASS => Question::Password,
                SASL_CB_GETREALM => Question::Realm,
                _ => return Err(unanswered(prompt.id)),
            };
            let given = match (answer(question), question) {
                (Some(given), _) => given,
                (None, Question::Realm | Question::User) => CString::default(),
                (None, _) => return Err(unanswered(prompt.id)),
            };
            prompt.len = length(given.as_bytes())?;
            prompt.result = given.as_ptr().cast::<c_void>();
            self.answers.push(given);
            at = at.wrapping_add(1);
        }
        Ok(())
    }

    /// # Safety
    /// `out` and `out_len` are what the library's last call on this connection returned.
    unsafe fn outcome(
        &mut self,
        code: c_int,
        out: *const c_char,
        out_len: c_uint,
    ) -> Result<ClientOutcome, Failure> {
        if code != SASL_OK && code != SASL_CONTINUE {
            return Err(self.failure(code));
        }
        // SAFETY: by this function's contract; null is taken as nothing.
        let response = (!out.is_null()).then(|| unsafe { bytes(out, out_len) });
        Ok(ClientOutcome {
            response,
            done: code == SASL_OK,
        })
    }

    /// Strength of the negotiated layer.
    pub(in crate::sasl) fn layer_strength(&mut self) -> c_uint {
        self.number(SASL_SSF)
    }

    /// The most octets that `encode` takes at a time; 0 for any number.
    pub(in crate::sasl) fn max_encode(&mut self) -> usize {
        self.number(SASL_MAXOUTBUF) as usize
    }

    fn number(&mut self, property: c_uint) -> c_uint {
        let mut value = ptr::null();
        // SAFETY: `raw` is live; the output is ours.
        let code = unsafe { sasl_getprop(self.raw, property as c_int, &raw mut value) };
        if code != SASL_OK || value.is_null() {
            return 0;
        }
        // SAFETY: the property is an unsigned int of the library's own.
        unsafe { *value.cast::<c_uint>() }
    }

    /// Appends the protected form of `clear`, which is at most `max_encode` octets.
    pub(in crate::sasl) fn encode(&mut self, clear: &[u8], wire: &mut Vec<u8>) -> Result<(), Failure> {
        let (mut out, mut out_len) = (ptr::null(), 0);
        // SAFETY: `raw` is live; the input lives through the call; the outputs are ours.
        let code = unsafe {
            sasl_encode(
                self.raw,
                clear.as_ptr().cast(),
                length(clear)?,
                &raw mut out,
                &raw mut out_len,
            )
        };
        self.check(code)?;
        // SAFETY: the library just set both, and `check` calls nothing on success.
        wire.extend_from_slice(&unsafe { bytes(out, out_len) });
        Ok(())
    }

    /// Appends what `wire` completes.
    pub(in crate::sasl) fn decode(&mut self, wire: &[u8], clear: &mut Vec<u8>) -> Result<(), Failure> {
        let (mut out, mut out_len) = (ptr::null(), 0);
        // SAFETY: `raw` is live; the input lives through the call; the outputs are ours.
        let code = unsafe {
            sasl_decode(
                self.raw,
                wire.as_ptr().cast(),
                length(wire)?,
                &raw mut out,
                &raw mut out_len,
            )
        };
        self.check(code)?;
        // SAFETY: the library just set both, and `check` calls nothing on success.
        clear.extend_from_slice(&unsafe { bytes(out, out_len) });
        Ok(())
    }

    fn check(&mut self, code: c_int) -> Result<(), Failure> {
        match code {
            SASL_OK => Ok(()),
            code => Err(self.failure(code)),
        }
    }

    fn failure(&mut self, code: c_int) -> Failure {
        // SAFETY: `raw` is live; the library returns null or a text of its own, which is copied at once.
        let detail = unsafe { owned(sasl_errdetail(self.raw)) };
        Failure {
            code,
            detail: detail.unwrap_or_else(|| text_of(code)),
        }
    }
}

impl Drop for ClientConnection {
    fn drop(&mut self) {
        // SAFETY: `raw` came from sasl_client_new and is disposed of here alone; what it points to is freed after this,
        // as fields are dropped after this body.
        unsafe { sasl_dispose(&raw mut self.raw) };
    }
}

fn unanswered(id: c_ulong) -> Failure {
    let what = match id {
        SASL_CB_AUTHNAME => "a user name".to_owned(),
        SASL_CB_PASS => "a password".to_owned(),
        id => format!("an answer to question {id:#x}"),
    };
    Failure {
        code: SASL_INTERACT,
        detail: format!("the mechanism needs {what}"),
    }
}
