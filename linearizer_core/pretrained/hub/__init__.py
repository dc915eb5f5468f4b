"""The Hugging Face Hub: models are pulled from it, checked, and pushed to it in one commit.

Built on the public functions of ``huggingface_hub``, which is imported when one of these is called: endpoint, token, cache and offline mode are those of
its environment variables (``HF_ENDPOINT``, ``HF_TOKEN``, ``HF_HOME``, ``HF_HUB_OFFLINE``). Its ``ModelHubMixin`` is not used: it falls back to pickle and
loads weights that do not fit in silence.
"""

from linearizer_core.pretrained.hub.address import HubAddress
from linearizer_core.pretrained.hub.pull import Pulled, fetch, pull
from linearizer_core.pretrained.hub.push import files_to_push, push
from linearizer_core.pretrained.hub.repository import Repository, commit_files, open_repository

__all__ = ["HubAddress", "Pulled", "Repository", "commit_files", "fetch", "files_to_push", "open_repository", "pull", "push"]
